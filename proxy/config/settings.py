"""Every setting, declared once: its name, type, default and what it does.

The file, the environment, the example and the documents are all read from this table. A setting's
name is its attribute's without `_bytes`; its default stands here as it would be written in TOML.
What an optional setting is without a value is None, and an empty text means just that.
"""

# ruff: noqa: RUF009  the calls below are dataclasses.field(), a setting's facts beside it

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import time, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from proxy.config import mirror_values, values
from proxy.config.values import Address, Kind, Network
from proxy.npm.lockfiles.platforms import Platform
from proxy.npm.policy import Rules
from proxy.npm.selectors import Selector

DEFAULT_UPLINK = "npm"
_HIDDEN = (values.SECRET, values.PROXY, values.HEADERS)


def _value(kind: Kind[Any], default: object, about: str) -> Any:
    """Declare a setting that always has a value; `default` is what TOML would hold."""
    read = kind.read(default)
    facts = {"kind": kind, "default": default, "about": about}
    if isinstance(read, dict):
        return field(default_factory=dict, metadata=facts, repr=kind not in _HIDDEN)
    return field(default=read, metadata=facts, repr=kind not in _HIDDEN)


def _optional(kind: Kind[Any], about: str) -> Any:
    """Declare a setting that is None unless it is set."""
    facts = {"kind": kind, "default": "", "about": about}
    return field(default=None, metadata=facts, repr=kind not in _HIDDEN)


def _required(kind: Kind[Any], about: str) -> Any:
    """Declare a setting that has to be given."""
    return field(metadata={"kind": kind, "default": None, "about": about})


class LogFormat(Enum):
    """How log lines look. AUTO is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(Enum):
    """The least grave of the lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_FORMAT = Kind(values.read_choice(LogFormat), values.show_choice)
_LEVEL = Kind(values.read_choice(LogLevel), values.show_choice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How clients reach us."""

    listen: Address = _value(
        values.ADDRESS, "127.0.0.1:4873", "where to listen; 0.0.0.0 or [::] is every interface"
    )
    public_url: str | None = _optional(
        values.URL,
        "the address clients know us by, if it is not the one they ask (may have a path)",
    )
    trusted_proxies: tuple[Network, ...] = _value(
        values.NETWORKS, [], "networks whose X-Forwarded-* and Forwarded headers are believed"
    )
    workers: int = _value(
        values.WORKERS, 1, 'how many processes serve; "auto" is one for each core'
    )
    max_publish_size_bytes: int = _value(
        values.SIZE, "200MiB", "the largest tarball that may be published"
    )
    drain: timedelta = _value(
        values.TIME, "1s", "how long clients are told to go elsewhere before a stop"
    )
    offline: bool = _value(values.BOOL, default=False, about="ask no uplink, serve what is held")


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where things are kept."""

    path: Path = _value(
        values.PATH, "packhouse-data", "the one folder; counts from the folder of this file"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """How much is kept of what uplinks said, and for how long it counts as fresh."""

    max_size_bytes: int = _value(
        values.SIZE, "20GiB", "the most disk that mirrored tarballs and packuments may take"
    )
    min_free_bytes: int = _value(values.SIZE, "1GiB", "disk that is always left free")
    max_age: timedelta = _value(values.TIME, "5m", "how long a packument is fresh")
    negative_age: timedelta = _value(
        values.TIME, "60s", "how long an uplink's word that a package does not exist is fresh"
    )
    soft_deadline: timedelta = _value(
        values.TIME, "1s", "how long a request waits for a slow uplink when a stale copy is there"
    )
    stale_if_error: timedelta | None = _value(
        values.TIME_OR_FOREVER,
        "forever",
        "how long a stale copy is served while the uplink is away",
    )
    ahead: bool = _value(
        values.BOOL, default=True, about="ask uplinks at once for what a cold client will ask next"
    )
    rendered_size_bytes: int = _value(
        values.SIZE, "2GiB", "the most disk that rendered packuments may take"
    )
    memory_bytes: int = _value(
        values.SIZE, "128MiB", "the most memory that finished replies take in each worker"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """A registry we are configured to ask.

    `token` and `password` are what was given, or what the variable or file that was named instead
    holds. `max_age` is the cache's where it is not set.
    """

    name: str
    url: str = _required(values.URL, "the registry's address")
    token: str | None = _optional(values.SECRET, "the token to send as Authorization: Bearer")
    token_env: str | None = _optional(values.TEXT, "the environment variable that holds the token")
    token_file: Path | None = _optional(values.PATH, "the file that holds the token")
    username: str | None = _optional(values.TEXT, "the user to send as Authorization: Basic")
    password: str | None = _optional(values.SECRET, "that user's password")
    password_env: str | None = _optional(values.TEXT, "the environment variable that holds it")
    password_file: Path | None = _optional(values.PATH, "the file that holds it")
    headers: Mapping[str, str] = _value(values.HEADERS, {}, "headers sent with every request")
    ca_file: Path | None = _optional(
        values.PATH, "PEM certificates of the authorities to trust instead of the system's"
    )
    client_cert: Path | None = _optional(
        values.PATH, "our PEM certificate, for registries that ask"
    )
    client_key: Path | None = _optional(values.PATH, "its PEM key, if it is not in the same file")
    proxy: str | None = _optional(
        values.PROXY, "the HTTP proxy through which the registry is reached"
    )
    timeout: timedelta = _value(
        values.SOME_TIME, "10s", "how long to wait for an answer's first byte, and for any more"
    )
    connect_timeout: timedelta = _value(values.SOME_TIME, "3s", "how long to wait for a connection")
    deadline: timedelta = _value(
        values.SOME_TIME, "18s", "how long a packument may take in all, with its retries"
    )
    retries: int = _value(
        Kind(lambda value: values.read_count(value, most=10)),
        1,
        "how often a failure is tried again",
    )
    concurrency: int = _value(
        Kind(lambda value: values.read_count(value, least=1, most=10_000)),
        64,
        "the most connections of one worker",
    )
    origins: tuple[str, ...] = _value(
        values.ORIGINS, [], "other hosts the registry may send us to, also on private networks"
    )
    max_packument_bytes: int = _value(values.SIZE, "256MiB", "the largest packument that is taken")
    max_age: timedelta | None = _optional(values.TIME, "how long its packuments are fresh")
    offline: bool = _value(values.BOOL, default=False, about="never ask it, serve what is held")


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who may come in, and for how long."""

    signup: bool = _value(
        values.BOOL, default=False, about="whether npm adduser may make users that are new"
    )
    admins: tuple[str, ...] = _value(
        values.USERS, [], "users who may do everything that an owner of a package may"
    )
    login_age: timedelta = _value(values.SOME_TIME, "30d", "how long a login is good")
    token_age: timedelta = _value(
        values.SOME_TIME, "90d", "the longest that a token which may write is good"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """What may become of packages that are published here."""

    unpublish: timedelta | None = _value(
        values.WINDOW,
        "72h",
        'how long a version may be unpublished: a time, "always" or "never"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """Packages that are carried here in files."""

    trusted_keys: tuple[str, ...] = _value(
        values.BUNDLE_KEYS, [], "keys whose bundles are imported, besides our own"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRule:
    """Packages that are kept fresh at given times of day."""

    name: str = _required(mirror_values.LABEL, "what it is called in commands, logs and metrics")
    packages: tuple[Selector, ...] = _value(
        mirror_values.SELECTORS,
        [],
        'names, names with a range, patterns among what is held: "@types/*"',
    )
    lockfiles: Path | None = _optional(
        values.PATH, "a folder: what every lockfile in it, at any depth, names"
    )
    at: tuple[time, ...] = _required(
        mirror_values.TIMES_OF_DAY,
        'times of day in the local time of the server, such as ["02:00"]',
    )
    platforms: tuple[Platform, ...] = _value(
        mirror_values.PLATFORMS, [], "whose optional packages are brought; [] is the server's own"
    )
    max_requests: int = _value(
        Kind(lambda value: values.read_count(value, least=1)),
        5000,
        "the most requests of one run; the next one goes on from there",
    )
    max_bytes_per_second: int = _value(
        mirror_values.SOME_SIZE, "10MB", "the most that a run fetches in a second, on average"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is written about requests and events."""

    format: LogFormat = _value(_FORMAT, "auto", 'one of "json", "text" (for people) and "auto"')
    level: LogLevel = _value(_LEVEL, "info", 'one of "debug", "info", "warning", "error"')
    access: bool = _value(values.BOOL, default=True, about="one line for each request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set, checked and complete.

    `rules` names an origin for every package. `warnings` are sentences about what works and is
    unwise. `places` says where each setting that was given comes from, by its dotted name.
    """

    server: Server = field(default_factory=Server)
    storage: Storage = field(default_factory=Storage)
    cache: Cache = field(default_factory=Cache)
    uplinks: tuple[Uplink, ...] = ()
    rules: Rules = field(default_factory=Rules)
    auth: Auth = field(default_factory=Auth)
    hosting: Hosting = field(default_factory=Hosting)
    bundles: Bundles = field(default_factory=Bundles)
    mirror: tuple[MirrorRule, ...] = ()
    log: Log = field(default_factory=Log)
    warnings: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


# --- the table --------------------------------------------------------------------------------

SECTIONS: Mapping[str, type] = {
    "server": Server,
    "storage": Storage,
    "cache": Cache,
    "auth": Auth,
    "hosting": Hosting,
    "bundles": Bundles,
    "log": Log,
}
UPLINKS, RULES, MIRROR = "uplinks", "rules", "mirror"
RULE_KEYS = {
    "match": "a pattern or a list of them",
    "from": 'an uplink\'s name, or "hosted"',
    "merge": "whether what is published here stands beside what the uplink has",
    "read": "who may read: users, groups, $authenticated or $all",
    "publish": "who may publish and change what is published",
    "unpublish": "who may take versions away",
}
REQUIRED_RULE_KEYS = ("match", "from")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row. `default` is None where a value has to be given, and "" where there may be none."""

    name: str
    attribute: str
    kind: Kind[Any]
    default: object
    about: str


def settings_of(section: type) -> tuple[Setting, ...]:
    """The rows of one section, in the order they stand here."""
    return tuple(_row(each) for each in fields(section) if each.metadata)


def _row(declared: Field[Any]) -> Setting:
    return Setting(
        name=declared.name.removesuffix("_bytes"),
        attribute=declared.name,
        kind=declared.metadata["kind"],
        default=declared.metadata["default"],
        about=declared.metadata["about"],
    )


MIRROR_KEYS = tuple(row.name for row in settings_of(MirrorRule))
LISTS: Mapping[str, Collection[str]] = {RULES: RULE_KEYS, MIRROR: MIRROR_KEYS}
"""The lists of tables, with the keys a table of each may have."""
