"""Which uplinks are not asked because somebody said so, while we serve.

The switches are kept with the index, so that all processes go by the same ones, also after a
restart. They are read anew only when somebody has committed there: a question costs one look at the
change counter. What the configuration puts offline has no switch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy import errors
from proxy.storage.offline import EVERY_UPLINK, Switch


class Kept(Protocol):
    """Where the switches are kept (storage/offline.py)."""

    def revision(self) -> int: ...

    def switches(self) -> Sequence[Switch]: ...


class Switchboard:
    """The switches as of now; while they cannot be read, as of the last time that they could."""

    def __init__(self, *, kept: Kept) -> None:
        self._kept = kept
        self._revision: int | None = None
        self._on: dict[str, Switch] = {}

    def is_offline(self, uplink: str) -> bool:
        """Whether `uplink` is not to be asked."""
        return self.switch_of(uplink) is not None

    def switch_of(self, uplink: str) -> Switch | None:
        """The switch that keeps us from asking `uplink`, its own or that of all."""
        try:
            revision = self._kept.revision()
            if revision != self._revision:
                # The counter is read first: a commit in between is seen the next time.
                self._on = {switch.uplink: switch for switch in self._kept.switches()}
                self._revision = revision
        except (errors.StorageAway, errors.StorageCorrupt):
            pass
        return self._on.get(EVERY_UPLINK) or self._on.get(uplink)
