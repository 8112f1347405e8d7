"""What tests of hosted packages and people begin with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from proxy.storage.hosting import Deed, HostedIndex, NewVersion
from proxy.storage.identity import People

NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ANN = Deed("ann", NOON, "192.0.2.7", "k1")
BOB = Deed("bob", NOON + MINUTE)


@dataclass(frozen=True)
class Opened:
    """Hosted packages and people that share their audit log."""

    hosted: HostedIndex
    people: People


def a_version(version: str = "1.0.0", name: str = "@acme/ui", **changes: object) -> NewVersion:
    bare = name.rpartition("/")[2]
    new = NewVersion(
        name=name,
        version=version,
        tag="latest",
        manifest=json.dumps({"name": name, "version": version, "n": 1}).encode(),
        file=f"{bare}-{version}.tgz",
        digest=version.encode().hex().ljust(128, "a"),
        size_bytes=500,
        integrity="sha512-abc",
        shasum="ab" * 20,
    )
    return replace(new, **changes)


def newest(versions: Sequence[str]) -> str:
    stable = [version for version in versions if "-" not in version]
    return max(stable or versions)
