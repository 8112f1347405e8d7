"""What is only seen when settings stand side by side: loops, missing files, leaks."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from proxy.config.settings import MIRROR, RULES, UPLINKS, Config, Server, Uplink
from proxy.npm.policy import AUTHENTICATED, Action

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SECRETS = ("token", "password", "headers", "proxy")
_FILES = ("ca_file", "client_cert", "client_key")


@dataclass(frozen=True, slots=True)
class Findings:
    """`problems` stop the start; `warnings` are told."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def check(config: Config, file: Path | None) -> Findings:
    """Everything that is wrong or unwise about settings which are fine one by one."""
    problems: list[str] = []
    warnings: list[str] = []
    for uplink in config.uplinks:
        problems += _problems_of(uplink, config)
        warnings += _warnings_of(uplink, config)
    warnings += _open_signup(config)
    warnings += _empty_mirror_rules(config)
    if file is not None:
        warnings += _open_file(config, file)
    return Findings(tuple(problems), tuple(warnings))


def _problems_of(uplink: Uplink, config: Config) -> Iterator[str]:
    if is_ourselves(uplink.url, config.server):
        reason = f"{uplink.url} is where packhouse itself listens, so it would ask itself for ever"
        advice = "give the address of another registry, or listen elsewhere"
        yield _says(config, uplink, "url", f"{reason}; {advice}")
    for name in _FILES:
        file = getattr(uplink, name)
        if file is not None and not file.is_file():
            yield _says(config, uplink, name, f"there is no file {file}")
    if uplink.client_key and not uplink.client_cert:
        yield _says(config, uplink, "client_key", "a key is of no use without a client_cert")


def _warnings_of(uplink: Uplink, config: Config) -> Iterator[str]:
    if all(rule.origin.uplink != uplink.name for rule in config.rules.rules):
        yield _says(config, uplink, "url", "no rule names this uplink, so it is never asked")
    for name in ("timeout", "connect_timeout"):
        if getattr(uplink, name) > uplink.deadline:
            yield _says(config, uplink, name, "is longer than the deadline, which ends it first")
    is_secret = bool(uplink.token or uplink.password)
    if (
        is_secret
        and uplink.url.startswith("http:")
        and not _is_local(urlsplit(uplink.url).hostname)
    ):
        yield _says(config, uplink, "url", "credentials are sent unencrypted; use https")


def _open_signup(config: Config) -> Iterator[str]:
    """A warning if somebody who makes themselves a user may publish at once."""
    server = config.server
    is_behind_proxy = server.public_url is not None or bool(server.trusted_proxies)
    if not config.auth.signup or (_is_loopback(server.listen.host) and not is_behind_proxy):
        return
    for index, rule in enumerate(config.rules.rules):
        if AUTHENTICATED in rule.listed(Action.PUBLISH):
            reason = "whoever reaches this server can make themselves a user, and any user may"
            advice = "name users or groups in its publish, or leave signup off"
            name = "auth.signup"
            sentence = f"{name}: {reason} publish by {RULES}.{index}; {advice}"
            yield f"{config.places[name]}: {sentence}"


def _empty_mirror_rules(config: Config) -> Iterator[str]:
    """A warning for each folder of lockfiles that is not there, or not yet."""
    for index, rule in enumerate(config.mirror):
        if rule.lockfiles is not None and not rule.lockfiles.is_dir():
            name = f"{MIRROR}.{index}.lockfiles"
            place = config.places.get(name)
            sentence = f"{name}: there is no folder {rule.lockfiles}"
            yield f"{place}: {sentence}" if place else sentence


def _open_file(config: Config, file: Path) -> Iterator[str]:
    """A warning if anybody on this machine may read a secret in the configuration file."""
    secrets = [
        name
        for uplink in config.uplinks
        for key in _SECRETS
        if getattr(uplink, key)
        and config.places.get(name := f"{UPLINKS}.{uplink.name}.{key}", "").startswith(f"{file}:")
    ]
    if secrets and file.stat().st_mode & stat.S_IROTH:
        names = ", ".join(secrets)
        yield f"{file}: everybody on this machine can read {names}; run chmod o-r {file}"


def is_ourselves(url: str, server: Server) -> bool:
    """Whether asking `url` would ask this very server."""
    parts = urlsplit(url)
    if server.public_url and url.lower() == server.public_url.lower():
        return True
    if server.listen.port != (parts.port or _DEFAULT_PORTS[parts.scheme]):
        return False
    host = (parts.hostname or "").lower()
    own = server.listen.host.lower()
    return host == own or (_is_local(host) and (_is_local(own) or _is_any(own)))


def _is_local(host: str | None) -> bool:
    return _is_loopback(host) or _is_any(host)


def _is_loopback(host: str | None) -> bool:
    return host == "localhost" or _address_is(host, "is_loopback")


def _is_any(host: str | None) -> bool:
    return _address_is(host, "is_unspecified")


def _address_is(host: str | None, quality: str) -> bool:
    try:
        return bool(getattr(ipaddress.ip_address(host or ""), quality))
    except ValueError:
        return False


def _says(config: Config, uplink: Uplink, key: str, reason: str) -> str:
    name = f"{UPLINKS}.{uplink.name}.{key}"
    place = config.places.get(name)
    return f"{place}: {name}: {reason}" if place else f"{name}: {reason}"
