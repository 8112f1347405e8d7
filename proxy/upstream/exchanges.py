"""From one question to its answer: the request, and those its redirects lead to.

Each hop is a request of its own: judged (may we go there?), admitted by the breaker of its origin,
and sent with what that origin may see. Redirects are followed by hand, because a library that does
it knows neither which hosts an operator trusts nor which of our headers are secrets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from proxy.upstream import asking, fields
from proxy.upstream.addresses import BadAddress, Kind, Places, Trust
from proxy.upstream.asking import Ask, Patience
from proxy.upstream.breaker import Breaker, Breakers, State
from proxy.upstream.faults import Fault, Faults
from proxy.upstream.responses import Raw, Response

_UNWANTED = frozenset({401, 403, 407})
_MOST_REDIRECTS = 5


class Send(Protocol):
    """Sends one request and waits for the head of its answer; follows nothing."""

    async def __call__(
        self, ask: Ask, headers: Mapping[str, str], patience: Patience, *, is_home: bool
    ) -> Raw: ...


class Exchanges:
    """The exchanges of one uplink. `translated` turns the library's errors into faults."""

    def __init__(
        self,
        *,
        places: Places,
        credentials: Mapping[str, str],
        faults: Faults,
        send: Send,
        translated: Callable[[str], AbstractContextManager[None]],
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._places = places
        self._credentials = credentials
        self._faults = faults
        self._send_raw = send
        self._translated = translated
        self._clock = clock
        self._now = now
        self._breakers = Breakers()

    def state_at_home(self) -> State:
        """The state of the uplink's own origin."""
        return self._breakers.of(self._places.home.origin).state(self._clock())

    @asynccontextmanager
    async def open(self, ask: Ask, patience: Patience) -> AsyncIterator[Response]:
        try:
            self._places.admit(ask.address, ask.kind)
        except BadAddress as error:
            raise self._faults.unusable(str(error)) from error
        is_home = self._places.trust(ask.address) is Trust.HOME
        for _ in range(_MOST_REDIRECTS + 1):
            response = await self._send(ask, patience, is_home=is_home)
            try:
                if response.status not in asking.REDIRECTS:
                    yield response
                    return
                ask = self._redirected(ask, response)
            finally:
                await response.close()
            is_home = is_home and self._places.trust(ask.address) is Trust.HOME
        raise self._faults.unusable(f"more than {_MOST_REDIRECTS} redirects")

    async def _send(self, ask: Ask, patience: Patience, *, is_home: bool) -> Response:
        passed = self._breaker(ask).enter(self._clock())
        if passed is None:
            wait = self._breaker(ask).wait(self._clock())
            reason = f"{ask.address.origin} is not asked for another {wait.total_seconds():.0f} s"
            raise self._faults.held(reason, wait)
        headers = ask.headers_for(self._credentials if is_home else None)
        try:
            with self._translated(ask.method):
                raw = await self._send_raw(ask, headers, patience, is_home=is_home)
        except BaseException as error:
            if isinstance(error, Fault) and error.is_failure:
                passed.failed(self._clock())
            passed.abandoned()
            raise
        return Response(
            raw,
            ask=ask,
            is_home=is_home,
            passed=passed,
            patience=patience,
            faults=self._faults,
            translated=lambda: self._translated(ask.method),
        )

    def _redirected(self, ask: Ask, response: Response) -> Ask:
        if not ask.keeps_method(response.status):
            raise self._faults.unusable(f"answers {ask.method} with {response.status}")
        try:
            goal = self._places.redirect(ask.address, response.header("location"), ask.kind)
        except BadAddress as error:
            raise self._faults.unusable(f"redirects us: {error}") from error
        return replace(ask, address=goal)

    def refusal(self, response: Response) -> Fault:
        """What an answer with a status we cannot use means."""
        status, waits = response.status, response.header("retry-after")
        if status in _UNWANTED:
            has_credentials = response.is_home and bool(self._credentials)
            did = "refuses our credentials" if has_credentials else "wants credentials"
            return self._faults.unusable(f"{did} ({status})")
        if status == 429 or (status == 503 and waits is not None):
            wait = fields.retry_after(waits, now=self._now())
            self._breaker(response.ask).hold(self._clock() + wait.total_seconds())
            return self._faults.held(f"asks us to wait ({status})", wait)
        may_retry = status == 408 or status >= 500
        return self._faults.unusable(f"answers {status}", may_retry=may_retry)

    def _breaker(self, ask: Ask) -> Breaker:
        return self._breakers.of(ask.address.origin, is_service=ask.kind is Kind.SERVICE)
