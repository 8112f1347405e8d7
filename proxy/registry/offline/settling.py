"""Bring the tarball of one version, and say what became of it."""

from __future__ import annotations

from proxy import errors
from proxy.npm import integrity
from proxy.npm.choosing import Choice
from proxy.npm.lockfiles import Wanted
from proxy.npm.names import PackageName
from proxy.registry.mirroring.arriving import Promise
from proxy.registry.offline.bringing import Bringing, WrongBytes
from proxy.registry.offline.errands import Errand, Outcome
from proxy.upstream.base import Uplink

Listed = tuple[PackageName, Uplink, Choice]
"""A version of a package as an uplink lists it."""


async def tarball(
    bringing: Bringing, errand: Errand, listed: Listed, wanted: Wanted, *, request_id: str = ""
) -> None:
    """Settle one version that the uplink lists. Raises StorageAway; other faults are reported."""
    name, uplink, choice = listed
    settle, what = errand.settle, f"{name.full}@{choice.version}"
    if not errand.is_fit(wanted, choice):
        settle(what, Outcome.OTHER_PLATFORM)
        return
    if choice.dist is None:
        settle(what, Outcome.MISSING, "its manifest names no tarball")
        return
    promise = Promise.of(uplink, name, choice.dist)
    expected = integrity.parse(wanted.integrity, None)
    try:
        record, is_held = await bringing.keep(promise, expected, request_id)
    except errors.StorageAway:
        raise
    except WrongBytes as fault:
        settle(what, Outcome.WRONG, str(fault))
    except errors.NotFound as fault:
        settle(what, Outcome.MISSING, str(fault))
    except errors.RegistryError as fault:
        settle(what, Outcome.FAILED, str(fault))
    else:
        outcome = Outcome.HELD if is_held else Outcome.FETCHED
        settle(what, outcome, size_bytes=record.size_bytes)
