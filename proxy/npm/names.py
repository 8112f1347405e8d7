"""Package names and tarball file names: parse, check, escape.

We stand before registries whose names are older than today's rules, so reading is tolerant: upper
case, `~'!()*`, a leading `_` or `-`, core module names and long names are served. What cannot be a
name anywhere is refused, and so is everything that a path, a pattern or a second decoding could
make something else of. Source: npm's validate-npm-package-name (its rules for old packages),
narrowed to what an address can carry unescaped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from proxy.errors import InvalidName

LONGEST = 512  # characters: what the registry once allowed; a new name may have 214
RESERVED = frozenset({"node_modules", "favicon.ico"})

_UNRESERVED = "-_.!~*'()"  # with letters and digits: what encodeURIComponent leaves alone
_OTHERS = re.compile(r"[^A-Za-z0-9\-_.!~*'()]")
_ENDINGS = (".tgz", ".tar.gz")
_SHOWN = 100  # characters of a refused name that are worth repeating


@dataclass(frozen=True, slots=True)
class PackageName:
    """The name of a package, `name` or `@scope/name`, case-sensitive; `parse` makes one."""

    full: str

    @property
    def scope(self) -> str | None:
        """The scope without its `@`."""
        return self.full[1:].partition("/")[0] if self.full.startswith("@") else None

    @property
    def bare(self) -> str:
        """The name without its scope."""
        return self.full.rpartition("/")[2] if self.full.startswith("@") else self.full

    @property
    def escaped(self) -> str:
        """The name as one piece of an address, as npm writes it: `@scope%2fname`."""
        return self._written("%2f")

    @property
    def path(self) -> str:
        """The name in a tarball's address, with a literal slash: `@scope/name`."""
        return self._written("/")

    def _written(self, slash: str) -> str:
        bare = quote(self.bare, safe=_UNRESERVED)
        if self.scope is None:
            return bare
        return f"@{quote(self.scope, safe=_UNRESERVED)}{slash}{bare}"


def parse(text: str) -> PackageName:
    """Read a name that has been percent-decoded once. Raises InvalidName, and nothing else."""
    reason = _problem(text)
    if reason is not None:
        raise InvalidName(name=text[:_SHOWN], reason=reason)
    return PackageName(text)


def tarball_file(name: PackageName, version: str) -> str:
    """The canonical file name: the bare name, a dash, the version, `.tgz`."""
    return f"{name.bare}-{version}.tgz"


def version_of(name: PackageName, file: str) -> str | None:
    """The version a tarball's file name speaks of; None if the name does not follow the rule.

    Old packages have such: another case, a name from before a rename.
    """
    prefix = f"{name.bare}-"
    for ending in _ENDINGS:
        if file.startswith(prefix) and file.endswith(ending):
            return file[len(prefix) : -len(ending)] or None
    return None


def _problem(text: str) -> str | None:
    if len(text) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if "%" in text:
        return "it is double-encoded, a '%' is left after decoding it once"
    if text.lower() in RESERVED:
        return "this name is reserved"
    if not text.startswith("@"):
        return _bare_problem(text)
    scope, slash, bare = text[1:].partition("/")
    if not slash:
        return "a scope must be followed by a slash and a name"
    return _part_problem(scope) or _bare_problem(bare)


def _bare_problem(part: str) -> str | None:
    return "'-' is where the registry's own addresses begin" if part == "-" else _part_problem(part)


def _part_problem(part: str) -> str | None:
    if not part:
        return "a part of it is empty"
    if part.startswith("."):
        return "a part of it starts with a dot"
    other = _OTHERS.search(part)
    return None if other is None else f"it contains {other.group()!a}"
