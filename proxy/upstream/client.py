"""One uplink over HTTP: the door to aiohttp's client.

A call goes through four layers, outermost first:

    watched     times it, names its outcome for the metrics, raises the error that a Fault carries
    slot        bounds how many are under way; tarballs take three quarters at most, so that a cold
                install's tarballs never keep its packuments waiting
    tries       once more after a fault that may pass, if the retry budget and the deadline allow
    exchange    one request, and those its redirects lead to; each asks the breaker of its origin

Two sessions: `home` dials the origins the operator named, wherever they are; `foreign` dials
everything else, and only public addresses. Credentials and validators go to the uplink's own origin
and nowhere else; once a redirect has left it they are gone for good, even if the next one returns.
"""

from __future__ import annotations

import asyncio
import math
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from proxy import errors
from proxy.npm.forms import ABBREVIATED_TYPE, JSON_TYPE, Form
from proxy.npm.names import PackageName
from proxy.upstream import addresses, asking, dial
from proxy.upstream.addresses import Address, BadAddress, Kind, Places, Trust
from proxy.upstream.asking import Ask, Patience
from proxy.upstream.base import Answer, Document, Missing, NotModified, Sink, Stream, TarballGone
from proxy.upstream.bodies import MinimumRate
from proxy.upstream.exchanges import Exchanges
from proxy.upstream.faults import Fault, Faults, outcome
from proxy.upstream.responses import TarballStream
from proxy.upstream.settings import UplinkSettings
from proxy.upstream.tries import Tries

__all__ = ["HttpUplink", "UplinkSettings"]

OnRequest = Callable[[str, str, str, float, int], None]

_ACCEPT = {
    Form.FULL: JSON_TYPE,
    Form.ABBREVIATED: f"{ABBREVIATED_TYPE}; q=1.0, {JSON_TYPE}; q=0.8, */*",
}
_GONE = frozenset({404, 410, 451})
_UNWANTED = frozenset({401, 403, 407})
_READ_BYTES = 256 * 1024


class HttpUplink:
    """One registry, asked over HTTP. Opened and closed by `async with`.

    `clock` is monotonic seconds, `now` the wall clock (for Retry-After dates), `rand` gives numbers
    in [0, 1) for jitter, `on_request` is told (uplink, kind, outcome, seconds, bytes) of each call.
    """

    def __init__(
        self,
        settings: UplinkSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rand: Callable[[], float] = random.random,
        on_request: OnRequest = lambda *_: None,
        user_agent: str | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._on_request = on_request
        self._user_agent = user_agent or f"packhouse/{metadata.version('packhouse')}"
        self._places = Places(
            url=settings.url, origins=settings.origins, is_proxied=settings.proxy is not None
        )
        self._faults = Faults(settings.name)
        self._exchanges = Exchanges(
            places=self._places,
            credentials=asking.credentials(settings),
            faults=self._faults,
            send=self._send,
            translated=self._translated,
            clock=clock,
            now=now,
        )
        self._tries = Tries(retries=settings.retries, clock=clock, rand=rand)
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._tarball_slots = asyncio.Semaphore(max(1, settings.concurrency * 3 // 4))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._tls_at_home = self._tls(is_home=True)
        self._tls_elsewhere = self._tls(is_home=False)
        self._home = await self._stack.enter_async_context(self._session(is_guarded=False))
        self._foreign = await self._stack.enter_async_context(self._session(is_guarded=True))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def state(self) -> str:
        return self._exchanges.state_at_home().value

    # --- what it can be asked ---------------------------------------------------------------------

    async def packument(
        self,
        name: PackageName,
        form: Form,
        *,
        etag: str | None,
        last_modified: str | None,
        sink: Sink,
        request_id: str = "",
    ) -> NotModified | Missing | Document:
        ask = Ask(
            method="GET",
            kind=Kind.METADATA,
            address=self._places.at(name.escaped),
            headers={"accept": _ACCEPT[form]},
            validators=asking.conditions(etag, last_modified),
            request_id=request_id,
        )
        patience = self._patience(self._settings.deadline)
        async with self._watched("packument") as note, self._slot(patience):
            answer = await self._tries.run(
                lambda coding: self._packument(ask.accepting(coding), sink, patience),
                patience,
                before_retry=sink.restart,
            )
            note.describe(answer)
            return answer

    def tarball_url(self, dist_tarball: str | None, name: PackageName, version: str) -> str:
        return self._places.tarball_url(dist_tarball, name, version)

    @asynccontextmanager
    async def tarball(
        self, url: str, *, offset: int = 0, etag: str | None = None, request_id: str = ""
    ) -> AsyncIterator[Stream]:
        patience = self._patience(None)
        async with (
            self._watched("tarball") as note,
            self._tarball_slots,
            self._slot(patience),
            AsyncExitStack() as stack,
        ):
            ask = self._tarball_ask(url, request_id)
            stream = await self._tries.run(
                lambda _: self._tarball(ask, offset, etag, patience, stack), patience
            )
            try:
                yield stream
            finally:
                note.size_bytes = stream.received_bytes

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
    ) -> Answer:
        ask = Ask(
            method=method,
            kind=Kind.SERVICE,
            address=self._at(path_and_query),
            headers=asking.passed_on(headers),
            body=body,
            request_id=request_id,
        )
        patience = self._patience(timeout)
        async with self._watched("service") as note, self._slot(patience):
            answer = await self._tries.run(
                lambda coding: self._answer(ask.accepting(coding), limit_bytes, patience), patience
            )
            note.describe(answer)
            return answer

    # --- one try of each --------------------------------------------------------------------------

    async def _packument(
        self, ask: Ask, sink: Sink, patience: Patience
    ) -> NotModified | Missing | Document:
        async with self._exchanges.open(ask, patience) as response:
            if response.status == 304 and response.was_conditional:
                return NotModified(
                    response.validator("etag") or ask.validators.get("if-none-match"),
                    response.validator("last-modified") or ask.validators.get("if-modified-since"),
                )
            if response.status in _GONE:
                return Missing(response.status)
            if response.status != 200:
                raise self._exchanges.refusal(response)
            size_bytes = 0
            async for piece in response.identity(self._settings.max_packument_bytes):
                size_bytes += len(piece)
                await sink.write(piece)
            return Document(
                content_type=response.content_type,
                etag=response.validator("etag"),
                last_modified=response.validator("last-modified"),
                size_bytes=size_bytes,
            )

    async def _tarball(
        self, ask: Ask, offset: int, etag: str | None, patience: Patience, stack: AsyncExitStack
    ) -> TarballStream:
        """Open a stream that `stack` closes."""
        async with AsyncExitStack() as this_try:
            exchange = self._exchanges.open(asking.from_offset(ask, offset, etag), patience)
            response = await this_try.enter_async_context(exchange)
            if response.status == 416 and offset:
                return await self._tarball(ask, 0, None, patience, stack)
            if response.status in _GONE:
                file = ask.address.target.rpartition("/")[2]
                raise TarballGone(uplink=self.name, file=file, status=response.status)
            if response.status not in (200, 206):
                raise self._exchanges.refusal(response)
            stream = TarballStream(
                response, asked_offset=offset, rate=self._least_rate(), faults=self._faults
            )
            stack.push_async_exit(this_try.pop_all())
            return stream

    async def _answer(self, ask: Ask, limit_bytes: int, patience: Patience) -> Answer:
        async with self._exchanges.open(ask, patience) as response:
            status = response.status
            is_success, is_refusal = 200 <= status < 300, 400 <= status < 500 or status == 501
            if not (is_success or is_refusal) or status in _UNWANTED | {408, 429}:
                raise self._exchanges.refusal(response)
            body = b""  # the status of a refusal says it all, and its body may be anything
            if is_success:
                body = b"".join([piece async for piece in response.identity(limit_bytes)])
            return Answer(status, response.content_type, response.validator("etag"), body)

    # --- the layers -------------------------------------------------------------------------------

    @asynccontextmanager
    async def _watched(self, kind: str) -> AsyncIterator[_Note]:
        began_at = self._clock()
        note = _Note()
        try:
            yield note
        except Fault as fault:
            note.outcome = outcome(fault.error)
            raise fault.error from fault
        except BaseException as error:
            note.outcome = outcome(error)
            raise
        finally:
            seconds = self._clock() - began_at
            self._on_request(self.name, kind, note.outcome, seconds, note.size_bytes)

    @asynccontextmanager
    async def _slot(self, patience: Patience) -> AsyncIterator[None]:
        left = patience.left()
        try:
            async with asyncio.timeout(None if math.isinf(left) else left):
                await self._slots.acquire()
        except TimeoutError:
            reason = f"none of {self._settings.concurrency} requests under way has ended in time"
            raise self._faults.timed_out(reason) from None
        try:
            yield
        finally:
            self._slots.release()

    async def _send(
        self, ask: Ask, headers: Mapping[str, str], patience: Patience, *, is_home: bool
    ) -> aiohttp.ClientResponse:
        is_stranger = self._places.trust(ask.address) is Trust.STRANGER
        session = self._foreign if is_stranger else self._home
        async with asyncio.timeout(patience.for_head()):
            return await session.request(
                ask.method,
                URL(ask.address.text, encoded=True),
                headers={"user-agent": self._user_agent, **headers},
                data=ask.body,
                allow_redirects=False,
                proxy=self._settings.proxy,
                ssl=self._tls_at_home if is_home else self._tls_elsewhere,
            )

    # --- what goes wrong --------------------------------------------------------------------------

    @contextmanager
    def _translated(self, method: str) -> Iterator[None]:
        """Errors of aiohttp and of the system as faults."""
        try:
            yield
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._fault(error, method) from error

    def _fault(self, error: Exception, method: str) -> Fault:
        if isinstance(error, TimeoutError):
            return self._faults.timed_out("no answer in time")
        if isinstance(error, aiohttp.ClientSSLError):
            return self._faults.broken(f"TLS: {_said(error)}")
        if isinstance(error, aiohttp.ClientConnectorError):
            return self._undialled(error)
        if isinstance(error, ValueError):
            return self._faults.unusable(f"leads to what cannot be dialled: {_said(error)}")
        if isinstance(error, aiohttp.ClientPayloadError):
            return self._faults.broken("the body broke off", may_retry=True)
        return self._unanswered(error, method)

    def _unanswered(self, error: Exception, method: str) -> Fault:
        if isinstance(error, aiohttp.ClientResponseError):
            return self._faults.broken("the answer is not sound HTTP")
        # Closed or reset. aiohttp has sent a GET once more by itself already, because that is what
        # happens to a connection that was idle for too long.
        reason = f"closed the connection: {_said(error)}"
        return self._faults.broken(reason, may_retry=method != "GET")

    def _undialled(self, error: aiohttp.ClientConnectorError) -> Fault:
        if dial.REFUSAL in str(error.os_error):
            return self._faults.unusable(f"leads to {error.host}, {dial.REFUSAL}")
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return self._faults.away(f"the name {error.host} does not resolve")
        return self._faults.away(f"{error.host}:{error.port}: {_said(error)}")

    # --- parts ------------------------------------------------------------------------------------

    def _at(self, path: str) -> Address:
        try:
            return self._places.at(path)
        except BadAddress as error:
            raise errors.InvalidRequest(reason=str(error)) from error

    def _tarball_ask(self, url: str, request_id: str) -> Ask:
        try:
            address = addresses.parse(url)
        except BadAddress as error:
            raise self._faults.unusable(f"dist.tarball: {error}") from error
        # Identity, because what npm hashes is the file as it lies there.
        headers = {"accept": "*/*", "accept-encoding": asking.IDENTITY}
        return Ask(
            method="GET",
            kind=Kind.TARBALL,
            address=address,
            headers=headers,
            request_id=request_id,
        )

    def _least_rate(self) -> MinimumRate:
        return MinimumRate(
            rate_bytes=self._settings.min_rate_bytes, over=self._settings.min_rate_over
        )

    def _patience(self, deadline: timedelta | None) -> Patience:
        return Patience(
            clock=self._clock,
            connect=self._settings.connect_timeout.total_seconds(),
            silence=self._settings.timeout.total_seconds(),
            until=None if deadline is None else self._clock() + deadline.total_seconds(),
        )

    def _session(self, *, is_guarded: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,  # the slots bound it, before any timer runs
            ttl_dns_cache=30,
            dns_cache_max_size=100,
            keepalive_timeout=30,
            socket_factory=dial.guarded_socket if is_guarded else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # it knows no limit, and hides a body that was cut inside
            read_bufsize=_READ_BYTES,
            timeout=aiohttp.ClientTimeout(
                total=None,  # each wait has a limit of its own, see Patience
                sock_connect=self._settings.connect_timeout.total_seconds(),
            ),
            skip_auto_headers=("accept", "content-type"),
        )

    def _tls(self, *, is_home: bool) -> ssl.SSLContext | bool:
        """Whom we trust (True: the system), and at home the certificate that says who we are."""
        ca_file, certificate = self._settings.ca_file, self._settings.client_cert
        if ca_file is None and (certificate is None or not is_home):
            return True
        try:
            context = ssl.create_default_context(cafile=ca_file)
            if is_home and certificate is not None:
                context.load_cert_chain(certificate, self._settings.client_key)
        except OSError as error:
            problem = f"uplinks.{self.name}: ca_file, client_cert or client_key: {error}"
            raise errors.ConfigError(problems=[problem]) from error
        return context


@dataclass(slots=True)
class _Note:
    """What the metrics are told of a call."""

    outcome: str = "ok"
    size_bytes: int = 0

    def describe(self, answer: NotModified | Missing | Document | Answer) -> None:
        match answer:
            case NotModified():
                self.outcome = "not_modified"
            case Missing():
                self.outcome = "missing"
            case Document():
                self.size_bytes = answer.size_bytes
            case Answer():
                self.size_bytes = len(answer.body)


def _said(error: BaseException) -> str:
    """An error in a few words, on one line. Those of aiohttp name hosts, never headers."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return " ".join(text.split())[:200]
