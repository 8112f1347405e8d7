"""What an operator says about one uplink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """One uplink: where it is, who we are to it, and how patient we are.

    `url` is the base address, `origins` are further origins (`https://host[:port]`) that tarballs
    and redirects may lead to; neither is checked against the list of public addresses. `timeout`
    bounds the wait for the first byte and every silence after it, `deadline` all of a metadata
    request, its retries included. A tarball that brings less than `min_rate_bytes` a second,
    averaged over `min_rate_over`, is given up.
    """

    name: str
    url: str
    token: str | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    timeout: timedelta = timedelta(seconds=10)
    connect_timeout: timedelta = timedelta(seconds=3)
    deadline: timedelta = timedelta(seconds=18)  # below the 20 s our own clients are given
    retries: int = 1
    concurrency: int = 64
    origins: tuple[str, ...] = ()
    max_packument_bytes: int = 256 * 1024 * 1024
    min_rate_bytes: int = 1024
    min_rate_over: timedelta = timedelta(seconds=30)
