"""How one try can go wrong, and what may be done about it before it becomes an error."""

from __future__ import annotations

from datetime import timedelta

from proxy import errors


class Fault(Exception):
    """One try went wrong: the error to raise, unless something better can be done.

    `is_failure` says that the origin itself is to blame, which its breaker counts; an unusable body
    is the fault of one document only. `as_identity` asks for the retry to go without compression.
    """

    def __init__(
        self,
        error: errors.UplinkError,
        *,
        may_retry: bool = False,
        is_failure: bool = False,
        as_identity: bool = False,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.may_retry = may_retry
        self.is_failure = is_failure
        self.as_identity = as_identity


class Faults:
    """Makes the faults of one uplink. `reason` is a sentence for the person at the other end."""

    def __init__(self, uplink: str) -> None:
        self._uplink = uplink

    def unusable(self, reason: str, *, may_retry: bool = False, as_identity: bool = False) -> Fault:
        """The origin answered, and we can do nothing with it."""
        error = errors.UplinkBroken(uplink=self._uplink, reason=reason)
        return Fault(error, may_retry=may_retry, as_identity=as_identity)

    def broken(self, reason: str, *, may_retry: bool = False) -> Fault:
        """The origin broke off, or does not speak HTTP."""
        error = errors.UplinkBroken(uplink=self._uplink, reason=reason)
        return Fault(error, may_retry=may_retry, is_failure=True)

    def away(self, reason: str) -> Fault:
        """The origin cannot be reached."""
        error = errors.UplinkUnreachable(uplink=self._uplink, reason=reason)
        return Fault(error, may_retry=True, is_failure=True)

    def held(self, reason: str, wait: timedelta) -> Fault:
        """The origin is not to be asked for a while."""
        return Fault(errors.UplinkAway(uplink=self._uplink, reason=reason, retry_after=wait))

    def timed_out(self, reason: str, *, is_failure: bool = True) -> Fault:
        """The origin took too long. No retry: the caller has waited long enough."""
        error = errors.UplinkTimeout(uplink=self._uplink, reason=reason)
        return Fault(error, is_failure=is_failure)


def outcome(error: BaseException) -> str:
    """One word for the metrics."""
    names: tuple[tuple[type[BaseException], str], ...] = (
        (errors.UplinkTimeout, "timeout"),
        (errors.UplinkAway, "away"),
        (errors.UplinkBroken, "broken"),
        (errors.NotFound, "missing"),
    )
    return next((name for kind, name in names if isinstance(error, kind)), "abandoned")
