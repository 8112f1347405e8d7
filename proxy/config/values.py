"""What a setting's value may be: what was written to a typed value, and back.

A `Kind` reads what TOML, the environment or the command line gave, and writes a value as it would
be configured. Every reader takes text, since that is all the environment has; the others are what
TOML has besides. A reader raises Unfit with a sentence that says what to write instead.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

from proxy.npm import principals, signing

T = TypeVar("T")
E = TypeVar("E", bound=Enum)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MASK = "********"


class Unfit(ValueError):
    """This value cannot be used; the text says why and what to write."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. `host` has no brackets; port 0 means any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How one sort of value is read and shown."""

    read: Callable[[object], T]
    show: Callable[[T], str] = field(default=str)


# --- sizes and times ---------------------------------------------------------------------------

_BINARY = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZES = {"B": 1, **_BINARY, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZES_BY_LOWER = {unit.lower(): factor for unit, factor in _SIZES.items()}
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,6})?) ?([A-Za-z]*)")
_LARGEST_SIZE = 2**63 - 1  # what SQLite and a file offset can hold

_TIMES = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_TIME = re.compile(r"(\d{1,15}(?:\.\d{1,3})?) ?(ms|[wdhms])")
_LONGEST_TIME_SECONDS = 36_500 * _TIMES["d"]
FOREVER = "forever"


def read_size(value: object) -> int:
    """Bytes: `"20GiB"`, `"1.5GB"`, or a bare number of bytes."""
    advice = f'is not a size; write a number and one of {", ".join(_SIZES)}, as in "20GiB"'
    found = _SIZE.fullmatch(_text(value, advice).strip())
    factor = _SIZES_BY_LOWER.get((found[2] or "B").lower()) if found else None
    if found is None or factor is None:
        raise Unfit(f"{quoted(value)} {advice}")
    size_bytes = int(float(found[1]) * factor) if "." in found[1] else int(found[1]) * factor
    if size_bytes > _LARGEST_SIZE:
        raise Unfit(f"{quoted(value)} is more than any disk holds")
    return size_bytes


def show_size(size_bytes: int) -> str:
    """The largest unit that leaves a whole number: `20GiB`, `1500B`."""
    for unit, factor in reversed(_BINARY.items()):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}B"


def read_time(value: object) -> timedelta:
    """A length of time: `"5m"`, `"1h30m"`, `"250ms"`, or 0."""
    advice = 'is not a length of time; write a number and one of ms, s, m, h, d, w, as in "5m"'
    text = _text(value, advice).strip()
    parts = _TIME.findall(text)
    if text in {"0", "0.0"}:
        return timedelta()
    if not parts or _TIME.sub("", text).strip():
        raise Unfit(f"{quoted(value)} {advice}")
    seconds = sum(float(number) * _TIMES[unit] for number, unit in parts)
    if seconds > _LONGEST_TIME_SECONDS:
        raise Unfit(f"{quoted(value)} is longer than a hundred years")
    return timedelta(seconds=seconds)


def read_some_time(value: object) -> timedelta:
    """A length of time that is not nothing."""
    if not (length := read_time(value)):
        raise Unfit(f'{quoted(value)} leaves no time at all; write something like "10s"')
    return length


def show_time(length: timedelta) -> str:
    """The largest unit that leaves a whole number: `5m`, `90s`."""
    for unit, seconds in _TIMES.items():
        if length and not length % timedelta(seconds=seconds):
            return f"{length // timedelta(seconds=seconds)}{unit}"
    return f"{length.total_seconds():g}s"


def read_time_or_forever(value: object) -> timedelta | None:
    """A length of time, or None for `"forever"`."""
    return None if value == FOREVER else read_time(value)


def show_time_or_forever(length: timedelta | None) -> str:
    """The opposite of `read_time_or_forever`."""
    return FOREVER if length is None else show_time(length)


NEVER, ALWAYS = "never", "always"


def read_window(value: object) -> timedelta | None:
    """How long after something it may be undone: `"never"` (no time), a length, or `"always"`."""
    if value == ALWAYS:
        return None
    return timedelta() if value == NEVER else read_time(value)


def show_window(window: timedelta | None) -> str:
    """The opposite of `read_window`."""
    if window is None:
        return ALWAYS
    return show_time(window) if window else NEVER


# --- addresses ---------------------------------------------------------------------------------

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_LARGEST_PORT = 65_535


def read_address(value: object) -> Address:
    """Where to listen: `"127.0.0.1:4873"`, `"[::1]:4873"`, `"localhost:0"`."""
    advice = (
        'is not an address to listen on; write "127.0.0.1:4873", "[::1]:4873" or "0.0.0.0:4873"'
    )
    host, colon, port = _text(value, advice).strip().rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) < 6 and int(port) <= _LARGEST_PORT
    if not (colon and is_port and _is_host(host)):
        raise Unfit(f"{quoted(value)} {advice}")
    return Address(host.strip("[]"), int(port))


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        try:
            return ipaddress.ip_address(host[1:-1]).version == 6
        except ValueError:
            return False
    return _HOST.fullmatch(host) is not None


def read_url(value: object) -> str:
    """An http or https address with an optional path, without its last slash."""
    text = _text(value, 'is not an address; write something like "https://registry.example"')
    url = _split_url(text.strip())
    if url.username or url.password:
        raise Unfit("an address holds no user and no password; they have settings of their own")
    if url.query or url.fragment or "?" in text or "#" in text:
        raise Unfit(f"{quoted(value)} has a query or a fragment; leave out what follows the path")
    return f"{url.scheme}://{url.netloc}{url.path}".rstrip("/")


def read_proxy(value: object) -> str:
    """The address of an HTTP proxy, which may hold a user and a password."""
    text = _text(value, 'is not a proxy; write something like "http://proxy.example:3128"').strip()
    url = _split_url(text)
    if url.path not in {"", "/"} or "?" in text or "#" in text:
        raise Unfit("a proxy's address has no path; write only its scheme, host and port")
    return f"{url.scheme}://{url.netloc}"


def show_proxy(url: str) -> str:
    """The proxy's address without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{MASK}@{parts.netloc.rpartition('@')[2]}" if parts.username else url


def read_origin(value: object) -> str:
    """A scheme, a host and perhaps a port, nothing more."""
    url = read_url(value)
    if urlsplit(url).path:
        raise Unfit(f"{quoted(value)} has a path; an origin ends with its host or port")
    return url


def _split_url(text: str) -> SplitResult:
    """The parts of a URL with a sound host; says nothing of its text, which may hold a password."""
    advice = "is not an http or https address, such as https://registry.example"
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        raise Unfit(f"this {advice}") from None
    is_sound = text.isascii() and text.isprintable() and not re.search(r"[\s\\]", text)
    if url.scheme not in {"http", "https"} or not host or not is_sound:
        raise Unfit(f"this {advice}")
    if not _is_host(f"[{host}]" if ":" in host else host):
        raise Unfit(f"this {advice}")
    return url


def read_network(value: object) -> Network:
    """A CIDR block or one address: `"10.0.0.0/8"`, `"::1"`."""
    text = _text(value, 'is not a network; write something like "10.0.0.0/8"').strip()
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise Unfit(f"{quoted(value)} is not a network{_nearest_network(text)}") from None


def _nearest_network(text: str) -> str:
    try:
        return f"; did you mean {quoted(str(ipaddress.ip_network(text, strict=False)))}?"
    except ValueError:
        return '; write something like "10.0.0.0/8"'


# --- words, numbers, lists and tables ----------------------------------------------------------

_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_MOST_WORKERS = 256
# What the client that asks an uplink has to say itself, or the answer cannot be read.
_RESERVED_HEADERS = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}


def read_bool(value: object) -> bool:
    """Truth: true or false; the environment may also say yes, no, on, off, 1 or 0."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _YES | _NO:
        raise Unfit(f"{quoted(value)} is neither true nor false")
    return word in _YES


def show_bool(value: bool) -> str:
    """As TOML writes it."""
    return str(value).lower()


def read_count(value: object, *, least: int = 0, most: int = 1_000_000) -> int:
    """A whole number between `least` and `most`."""
    text = _text(value, f"is not a whole number from {least} to {most}").strip()
    is_count = text.isascii() and text.isdigit() and len(text) < 8
    if not is_count or not least <= int(text) <= most:
        raise Unfit(f"{quoted(value)} is not a whole number from {least} to {most}")
    return int(text)


def read_workers(value: object) -> int:
    """How many processes; `"auto"` is one for each core this process may use."""
    if value == "auto":
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    return read_count(value, least=1, most=_MOST_WORKERS)


def read_text(value: object) -> str:
    """Any text but the empty one, without line breaks at its ends."""
    text = value.strip() if isinstance(value, str) else ""
    if not text or not text.isprintable():
        raise Unfit("this is not a line of text")
    return text


def read_user(value: object) -> str:
    """The name of one user; a group is not one."""
    user = read_text(value)
    if reason := principals.flaw_of_user(user):
        raise Unfit(reason)
    return user


def read_bundle_key(value: object) -> str:
    """The public key of whoever makes bundles, as `packhouse keys bundle` prints it."""
    text = read_text(value)
    if not signing.is_bundle_key(text):
        raise Unfit(f"{quoted(value)} is not a key as `packhouse keys bundle` prints it")
    return text


def read_list(of: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """A reader of a list; text is cut at its commas, and one value alone is a list of one."""

    def read(value: object) -> tuple[T, ...]:
        if isinstance(value, str):
            value = [part for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)):
            raise Unfit(f'{quoted(value)} is not a list; write ["a", "b"]')
        return tuple(of(part) for part in value)

    return read


def show_list(values: tuple[object, ...]) -> str:
    """The values between commas, as the environment has them."""
    return ", ".join(map(str, values))


def read_json(text: str) -> object:
    """The JSON that stands for a table or a list of tables in the environment."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Unfit(f"this is not JSON: {error}") from None


def read_headers(value: object) -> dict[str, str]:
    """HTTP header fields; the environment gives them as a JSON object."""
    table = read_json(value) if isinstance(value, str) else value
    if not isinstance(table, Mapping):
        raise Unfit('headers are a table; write { "x-team" = "web" }')
    for name, text in table.items():
        _check_header(name, text)
    return dict(table)


def _check_header(name: object, text: object) -> None:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise Unfit(f"{quoted(name)} cannot be the name of a header")
    if name.lower() in _RESERVED_HEADERS:
        raise Unfit(f"the header {name} is set by packhouse itself; leave it out")
    if not isinstance(text, str) or not text.isascii() or not text.isprintable():
        raise Unfit(f"the header {name} needs a text without control characters")


def show_headers(headers: Mapping[str, str]) -> str:
    """The names alone, for a header's value is often a secret."""
    return ", ".join(f"{name}: {MASK}" for name in headers)


def read_choice(choices: type[E]) -> Callable[[object], E]:
    """A reader of one word out of a closed set."""

    def read(value: object) -> E:
        for choice in choices:
            if choice.value == value:
                return choice
        words = ", ".join(str(choice.value) for choice in choices)
        raise Unfit(f"{quoted(value)} is not possible; write one of {words}")

    return read


def show_choice(choice: Enum) -> str:
    """The word that stands for it."""
    return str(choice.value)


def _text(value: object, advice: str) -> str:
    """Text, or a number as text; never a bool, which is a number to Python only."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Unfit(f"{quoted(value)} {advice}")
    return str(value)


def quoted(value: object) -> str:
    """A short picture of what was written."""
    if isinstance(value, Mapping):
        return "a table"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


# --- the kinds ---------------------------------------------------------------------------------

SIZE = Kind(read_size, show_size)
TIME = Kind(read_time, show_time)
SOME_TIME = Kind(read_some_time, show_time)
TIME_OR_FOREVER = Kind(read_time_or_forever, show_time_or_forever)
WINDOW = Kind(read_window, show_window)
USERS = Kind(read_list(read_user), show_list)
BUNDLE_KEYS = Kind(read_list(read_bundle_key), show_list)
ADDRESS = Kind(read_address)
URL = Kind(read_url)
PROXY = Kind(read_proxy, show_proxy)
NETWORKS = Kind(read_list(read_network), show_list)
ORIGINS = Kind(read_list(read_origin), show_list)
BOOL = Kind(read_bool, show_bool)
COUNT = Kind(read_count)
WORKERS = Kind(read_workers)
TEXT = Kind(read_text)
SECRET = Kind(read_text, lambda _: MASK)
HEADERS = Kind(read_headers, show_headers)
PATH = Kind(lambda value: Path(read_text(value)).expanduser(), str)
