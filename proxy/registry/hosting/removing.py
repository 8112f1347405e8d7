"""How long a published version may be taken back, and where `latest` goes then.

A version that somebody has installed is missed when it goes, so an operator may say how long after
its publication a version may be unpublished: always, for a time, or never (`hosting.unpublish`).
Administrators may always, because some things have to go. Who may unpublish at all is judged by
permissions.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from proxy import errors
from proxy.npm import semver
from proxy.registry.people.callers import Caller
from proxy.storage.hosting import HostedVersion

_INSTEAD = "deprecate it instead (npm deprecate), or ask an administrator"


class Removing:
    """Judges removals. `window` is how old a version may be; None: any age, nothing: none."""

    def __init__(self, *, window: timedelta | None, clock: Callable[[], datetime]) -> None:
        self._window = window
        self._clock = clock

    def require(self, caller: Caller, name: str, versions: Iterable[HostedVersion]) -> None:
        """Raise Forbidden, which says what to do, unless all of `versions` may go."""
        if caller.is_admin or self._window is None:
            return
        if not self._window:
            raise errors.Forbidden(reason=f"nothing is unpublished here; {_INSTEAD}")
        now = self._clock()
        for each in versions:
            if now - each.published_at >= self._window:
                hours = self._window / timedelta(hours=1)
                raise errors.Forbidden(
                    reason=f"{name}@{each.version} was published more than {hours:g} hours ago "
                    f"and stays; {_INSTEAD}"
                )


def newest(versions: Sequence[str]) -> str:
    """The version `latest` moves to: the highest that is no prerelease, or the highest of all."""
    return max(versions, key=lambda version: (not _is_prerelease(version), semver.order(version)))


def _is_prerelease(version: str) -> bool:
    try:
        return bool(semver.parse(version, loose=True).prerelease)
    except semver.InvalidVersion:
        return True
