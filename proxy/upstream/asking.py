"""One question to an uplink: what is asked, who may see what of it, and how long it may take."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from proxy.upstream.addresses import Address, Kind
from proxy.upstream.settings import UplinkSettings

GZIP = "gzip"
IDENTITY = "identity"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPING_METHOD = frozenset({307, 308})
# What a client's request may add to ours.
FORWARDED = ("content-type", "content-encoding", "accept", "npm-command")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, as far as it is the same for every origin it may be redirected to."""

    method: str
    kind: Kind
    address: Address
    headers: Mapping[str, str] = field(default_factory=dict)
    validators: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    request_id: str = ""

    def headers_for(self, credentials: Mapping[str, str] | None) -> dict[str, str]:
        """The headers to send. `credentials` None: we have left the uplink's own origin.

        Then its secrets, its validators and our request id stay behind; the id is ours to find
        things with, and nobody else's business.
        """
        headers = {**self.headers}
        if credentials is not None:
            request_id = {"x-request-id": self.request_id} if self.request_id else {}
            headers = {**credentials, **request_id, **headers, **self.validators}
        return headers

    def accepting(self, coding: str) -> Ask:
        """The same question with this Accept-Encoding."""
        return replace(self, headers={**self.headers, "accept-encoding": coding})

    def keeps_method(self, status: int) -> bool:
        """Whether a redirect lets the method be what it is (RFC 9110 15.4)."""
        return self.method == "GET" or status in _KEEPING_METHOD


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each wait may take, in seconds; `until` (monotonic) bounds them all."""

    clock: Callable[[], float]
    connect: float
    silence: float
    until: float | None = None

    def for_head(self) -> float:
        """From the dial to the end of the headers."""
        return min(self.connect + self.silence, self.left())

    def for_chunk(self) -> float:
        return min(self.silence, self.left())

    def left(self) -> float:
        """What is left of all; never negative."""
        return float("inf") if self.until is None else max(0.0, self.until - self.clock())


def credentials(settings: UplinkSettings) -> dict[str, str]:
    """The headers for the uplink's own origin alone: the configured ones, and who we are."""
    headers = {name.lower(): value for name, value in settings.headers.items()}
    if settings.token is not None:
        headers["authorization"] = f"Bearer {settings.token}"
    elif settings.basic is not None:
        pair = ":".join(settings.basic).encode()
        headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return headers


def conditions(etag: str | None, last_modified: str | None) -> dict[str, str]:
    """The headers of a conditional request."""
    named = {"if-none-match": etag, "if-modified-since": last_modified}
    return {name: value for name, value in named.items() if value}


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of a client's headers that an uplink may see."""
    named = {name.lower(): value for name, value in headers.items()}
    return {name: named[name] for name in FORWARDED if name in named}


def from_offset(ask: Ask, offset: int, etag: str | None) -> Ask:
    """The question for the rest of a file of which `offset` bytes are here already.

    If-Range is a validator: it stays at home. Without it a changed file shows in its digest.
    """
    if not offset:
        return ask
    if_range = {"if-range": etag} if etag and etag.startswith('"') else {}
    return replace(ask, headers={**ask.headers, "range": f"bytes={offset}-"}, validators=if_range)
