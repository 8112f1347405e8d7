"""Where we may go for an uplink's sake: its own origin, those the operator listed, and strangers.

An address is taken apart here once, strictly, and put together again from its parts before it is
dialled. So there is no second parser that might read another host out of the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from urllib.parse import quote, urljoin

from proxy.npm import links
from proxy.npm.names import PackageName

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:[/?][^#]*)?)(?:#.*)?",
    re.ASCII | re.IGNORECASE,
)
# Surrogates are what a header or a JSON string holds in place of bytes that are no text.
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_TARGET_SAFE = "/?:@!$&'()*+,;=-._~%[]"  # what RFC 3986 lets stand, and escapes that are there


class BadAddress(ValueError):
    """Not an http or https address that we would dial. Its text says why."""


class Kind(Enum):
    """What is asked for: strangers are good for tarballs only, since a digest judges those."""

    METADATA = auto()
    TARBALL = auto()
    SERVICE = auto()


class Trust(Enum):
    """Whose origin it is. Credentials go HOME only; a STRANGER's address must be a public one."""

    HOME = auto()
    LISTED = auto()
    STRANGER = auto()


@dataclass(frozen=True, slots=True)
class Address:
    """An http or https address: lower-case host, explicit port, target with its query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def text(self) -> str:
        """The address as it is dialled; a default port is left out, as servers expect of Host."""
        is_default = self.port == _DEFAULT_PORTS[self.scheme]
        return f"{self.scheme}://{self.host}{'' if is_default else f':{self.port}'}{self.target}"


def parse(text: str, *, base: Address | None = None) -> Address:
    """Take an address apart, relative to `base` if it has no scheme. Raises BadAddress."""
    if _NO_TEXT.search(text):
        raise BadAddress("the address holds characters that are no text")
    absolute = text if base is None else _joined(base, text)
    match = _URL.fullmatch(absolute)
    if match is None:
        raise BadAddress(f"{absolute[:200]!r} is not a plain http or https address")
    scheme = match["scheme"].lower()
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    if not 0 < port <= 65_535:
        raise BadAddress(f"{port} is not a port")
    target = quote(match["target"], safe=_TARGET_SAFE)
    return Address(
        scheme, match["host"].lower(), port, target if target[:1] == "/" else "/" + target
    )


def _joined(base: Address, text: str) -> str:
    try:
        return urljoin(base.text, text)
    except ValueError as error:
        # `//[::1`, or a host that normalisation would turn into another.
        raise BadAddress(f"{text[:200]!r} is no address") from error


class Places:
    """The origins of one uplink. Raises BadAddress at once if the operator's own do not parse."""

    def __init__(self, *, url: str, origins: Iterable[str] = (), is_proxied: bool = False) -> None:
        self.home = parse(url.rstrip("/"))
        self._base = url.rstrip("/")
        self._listed = frozenset(parse(origin).origin for origin in origins)
        self._is_proxied = is_proxied

    def trust(self, address: Address) -> Trust:
        if address.origin == self.home.origin:
            return Trust.HOME
        return Trust.LISTED if address.origin in self._listed else Trust.STRANGER

    def at(self, path: str) -> Address:
        """The address of something below the uplink's base."""
        return parse(f"{self._base}/{path.removeprefix('/')}")

    def admit(self, address: Address, kind: Kind) -> None:
        """Raise BadAddress if this kind of thing must not be fetched from there."""
        if self.trust(address) is not Trust.STRANGER:
            return
        if kind is not Kind.TARBALL:
            raise BadAddress(f"{address.origin} is none of this uplink's origins")
        if address.scheme != "https":
            raise BadAddress(f"{address.origin} is not https and none of this uplink's origins")
        if self._is_proxied:
            # A proxy resolves names itself, out of sight of our guard.
            raise BadAddress(f"{address.origin} has to be among the origins when a proxy is used")

    def redirect(self, source: Address, location: str | None, kind: Kind) -> Address:
        """Where an answer sends us. Raises BadAddress if we do not go there."""
        if not location:
            raise BadAddress("a redirect without a Location")
        goal = parse(location, base=source)
        if source.scheme == "https" and goal.scheme == "http":
            raise BadAddress(f"a redirect from https down to {goal.origin}")
        self.admit(goal, kind)
        return goal

    def tarball_url(self, dist_tarball: str | None, name: PackageName, version: str) -> str:
        """Which address to ask for a tarball that a packument says is at `dist_tarball`.

        An address that is none is replaced by the canonical one. An http address of the uplink's
        own host is a leftover from before it spoke https. Any other is kept as it is; whether we
        go there is judged when it is fetched.
        """
        try:
            address = parse(dist_tarball or "", base=self._folder)
        except BadAddress:
            address = None
        if not dist_tarball or address is None:
            return links.tarball_url(self._base, name, version)
        return (self._upgraded(address) or address).text

    @property
    def _folder(self) -> Address:
        return replace(self.home, target=self.home.target.rstrip("/") + "/")

    def _upgraded(self, address: Address) -> Address | None:
        is_leftover = (
            (self.home.scheme, address.scheme) == ("https", "http")
            and address.host == self.home.host
            and address.port in (_DEFAULT_PORTS["http"], self.home.port)
        )
        return replace(self.home, target=address.target) if is_leftover else None
