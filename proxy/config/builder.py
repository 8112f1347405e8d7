"""Every value that was given, read into the setting it is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.config import names, rulebook, values
from proxy.config.settings import (
    MIRROR,
    UPLINKS,
    Auth,
    Bundles,
    Cache,
    Config,
    Hosting,
    Log,
    MirrorRule,
    Server,
    Setting,
    Storage,
    Uplink,
    settings_of,
)
from proxy.config.sources import Given


def build(
    given: Mapping[str, Given], *, environ: Mapping[str, str], file: Path | None
) -> tuple[Config, list[str]]:
    """The configuration, and a sentence for every value that is unfit.

    A setting whose value is unfit is left at its default, and an uplink without an address out.
    """
    builder = _Builder(given, environ)
    rules, flaws = rulebook.read(given, uplinks=names.uplinks_in(given), file=file)
    storage = {"path": _data_folder(file, environ)} | builder.section("storage", Storage)
    config = Config(
        server=Server(**builder.section("server", Server)),
        storage=Storage(**storage),
        cache=Cache(**builder.section("cache", Cache)),
        uplinks=builder.uplinks(),
        rules=rules,
        auth=Auth(**builder.section("auth", Auth)),
        hosting=Hosting(**builder.section("hosting", Hosting)),
        bundles=Bundles(**builder.section("bundles", Bundles)),
        mirror=builder.mirror_rules(),
        log=Log(**builder.section("log", Log)),
        places={name: each.place for name, each in given.items()},
    )
    return config, [*builder.problems, *flaws]


class _Builder:
    """Reads values out of `given`; what is wrong with them gathers in `problems`."""

    def __init__(self, given: Mapping[str, Given], environ: Mapping[str, str]) -> None:
        self._given = given
        self._environ = environ
        self.problems: list[str] = []

    def section(self, prefix: str, table: type) -> dict[str, Any]:
        """The attributes of one table that were given and can be read."""
        read: dict[str, Any] = {}
        for row in settings_of(table):
            name = f"{prefix}.{row.name}"
            given = self._given.get(name)
            try:
                if given is not None:
                    read[row.attribute] = _read(row, given)
            except values.Unfit as error:
                self._problem(name, str(error))
        return read

    def _problem(self, name: str, reason: str) -> None:
        self.problems.append(self._given[name].says(name, reason))

    # --- uplinks

    def uplinks(self) -> tuple[Uplink, ...]:
        """Every uplink whose address is known, in the order of the sources."""
        found = (self._uplink(name) for name in names.uplinks_in(self._given))
        return tuple(uplink for uplink in found if uplink)

    def _uplink(self, uplink: str) -> Uplink | None:
        prefix = f"{UPLINKS}.{uplink}"
        read = self.section(prefix, Uplink)
        for secret in names.WAYS:
            if text := self._secret(prefix, secret, read):
                read[secret] = text
        self._check_credentials(prefix, read)
        if "url" in read:
            return Uplink(name=uplink, **read)
        if f"{prefix}.url" not in self._given:
            first = next(name for name in self._given if name.startswith(f"{prefix}."))
            self.problems.append(f"{self._given[first].place}: {prefix} has no url")
        return None

    # --- mirror rules

    def mirror_rules(self) -> tuple[MirrorRule, ...]:
        """Every mirror rule that can be read, in order."""
        found = [name.split(".") for name in self._given if name.startswith(f"{MIRROR}.")]
        rules: dict[str, MirrorRule] = {}
        for index in sorted({int(parts[1]) for parts in found}):
            rule = self._mirror_rule(f"{MIRROR}.{index}")
            if rule is not None and rule.name in rules:
                self._problem(f"{MIRROR}.{index}.name", f'another rule is called "{rule.name}"')
            elif rule is not None:
                rules[rule.name] = rule
        return tuple(rules.values())

    def _mirror_rule(self, prefix: str) -> MirrorRule | None:
        given = {name for name in self._given if name.startswith(f"{prefix}.")}
        read = self.section(prefix, MirrorRule)
        missing = [key for key in ("name", "at") if f"{prefix}.{key}" not in given]
        if not given & {f"{prefix}.packages", f"{prefix}.lockfiles"}:
            missing.append("packages and no lockfiles")
        for key in missing:
            self.problems.append(self._given[min(given)].says(prefix, f"says no {key}"))
        return MirrorRule(**read) if {"name", "at"} <= read.keys() and not missing else None

    # --- secrets

    def _secret(self, prefix: str, secret: str, read: Mapping[str, Any]) -> str | None:
        """The token or password, wherever it was said to be."""
        ways = [way for way in names.WAYS[secret] if read.get(way)]
        if len(ways) > 1:
            others = " and ".join(ways)
            self._problem(
                f"{prefix}.{ways[1]}", f"{others} are two ways to say one thing; keep one"
            )
            return None
        if ways == [f"{secret}_env"]:
            return self._secret_of_variable(f"{prefix}.{ways[0]}", read[ways[0]])
        if ways == [f"{secret}_file"]:
            return self._secret_of_file(f"{prefix}.{ways[0]}", read[ways[0]])
        return None

    def _secret_of_variable(self, name: str, variable: str) -> str | None:
        text = self._environ.get(variable, "").strip()
        if not text:
            self._problem(name, f"the environment variable {variable} is not set")
        return text or None

    def _secret_of_file(self, name: str, file: Path) -> str | None:
        try:
            return values.read_text(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, values.Unfit) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not one line of text"
            self._problem(name, f"{file} cannot be read: {reason}")
            return None

    def _check_credentials(self, prefix: str, read: Mapping[str, Any]) -> None:
        token = next((way for way in names.WAYS["token"] if read.get(way)), None)
        password = next((way for way in names.WAYS["password"] if read.get(way)), None)
        user = "username" if read.get("username") else None
        if token and (user or password):
            self._problem(f"{prefix}.{token}", "a token and a user cannot both be sent; keep one")
        elif bool(user) != bool(password):
            reason = "a username and a password are only sent together; give both"
            self._problem(f"{prefix}.{user or password}", reason)


def _read(row: Setting, given: Given) -> Any:
    """The typed value; a relative path counts from where it was written."""
    value = row.kind.read(given.value)
    return given.folder / value if isinstance(value, Path) else value


def _data_folder(file: Path | None, environ: Mapping[str, str]) -> Path:
    """Beside the configuration file; without one, where the XDG specification puts data."""
    if file is not None:
        return file.absolute().parent / Storage().path
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    base = Path(environ.get("XDG_DATA_HOME") or "")
    # The specification says to ignore a base that is not absolute.
    return (base if base.is_absolute() else home / ".local" / "share") / "packhouse"
