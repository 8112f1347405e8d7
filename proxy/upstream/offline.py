"""An uplink that is never asked: no packet leaves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import NoReturn, Self

from proxy import errors
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.upstream.base import Sink
from proxy.upstream.presence import OFFLINE, Absence, Presence


class OfflineUplink:
    """Stands in for an uplink while we are offline: every question is answered with UplinkAway."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._presence = Presence(OFFLINE)

    @property
    def name(self) -> str:
        return self._name

    @property
    def state(self) -> str:
        """Not one of a breaker's states: nobody decided this but the operator."""
        return "offline"

    @property
    def absence(self) -> Absence | None:
        return OFFLINE

    @property
    def presence(self) -> Presence:
        return self._presence

    async def packument(
        self,
        name: PackageName,
        form: Form,
        *,
        etag: str | None,
        last_modified: str | None,
        sink: Sink,
        request_id: str = "",
    ) -> NoReturn:
        self._refuse()

    def tarball_url(self, dist_tarball: str | None, name: PackageName, version: str) -> str:
        return dist_tarball or ""

    def tarball(
        self, url: str, *, offset: int = 0, etag: str | None = None, request_id: str = ""
    ) -> NoReturn:
        self._refuse()

    async def forward(
        self,
        method: str,
        path_and_query: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: timedelta,
        limit_bytes: int,
        request_id: str = "",
    ) -> NoReturn:
        self._refuse()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing was opened."""

    def _refuse(self) -> NoReturn:
        raise refusal(self._name)


def refusal(uplink: str) -> errors.UplinkAway:
    """What everybody is told who would have an uplink asked while we are offline."""
    return errors.UplinkAway(uplink=uplink, reason=OFFLINE.reason)
