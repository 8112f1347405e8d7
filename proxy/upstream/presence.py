"""Whether an uplink is to be had, by the last word that came of it.

    HERE   -- a fault that says nobody is there: UplinkAway, UplinkTimeout -->  AWAY
    AWAY   -- any answer: a document, a 304, a 404, a tarball that begins  -->  HERE

An answer that is unusable (UplinkBroken) says neither: somebody answered, and perhaps only this one
thing is broken. Where everything is, the breaker opens soon, and then the fault is UplinkAway. A
hold (429 with Retry-After) is UplinkAway as well: until it ends nothing can be had. Search and the
like do not count, as they have a breaker of their own: an uplink without search is not away.

The word is each process's own. While it is AWAY every request asks again, as far as breaker and
pauses let it, so that the first answer after an outage ends it and nothing has to be done.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy import errors


@dataclass(frozen=True, slots=True)
class Absence:
    """Why nothing can be had of an uplink. `is_offline` if that was decided and is no fault."""

    reason: str
    is_offline: bool = False


OFFLINE = Absence("not asked, because we are offline", is_offline=True)


class Presence:
    """The last word. `absence` is None while the uplink is here, as far as is known."""

    __slots__ = ("absence",)

    def __init__(self, absence: Absence | None = None) -> None:
        self.absence = absence

    def answered(self) -> None:
        """Note an answer, whatever it says."""
        self.absence = None

    def failed(self, fault: errors.UplinkError) -> None:
        """Note a fault, if it says that nobody is there."""
        if isinstance(fault, errors.UplinkAway | errors.UplinkTimeout):
            self.absence = Absence(str(fault.facts["reason"]))
