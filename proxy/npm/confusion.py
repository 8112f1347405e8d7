"""Whether a manifest tells the truth about its tarball.

Clients resolve by the manifest and run what is in the tarball; nobody compares the two afterwards
("manifest confusion"). Publishing tools rewrite package.json a little before they send it, each in
its own way, so both sides are brought to one form first: what npm's `read-package-json`,
`@npmcli/package-json`, yarn, pnpm and bun leave of a field must come out alike. Values no tool
understands count as absent on both sides.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from proxy.npm import semver, wire

Json = Mapping[str, Any]

LIFECYCLE = (
    "preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare",
    "prepublish", "prepack", "postpack", "preuninstall", "uninstall", "postuninstall",
)  # fmt: skip
GYP_SCRIPT = "node-gyp rebuild"
"""What npm runs to install a package that has a binding.gyp and no script of its own."""

_BOM = b"\xef\xbb\xbf"
_OWN_TOOLS = re.compile(r"^(\.[/\\])?node_modules[/\\]\.bin[/\\]")
_LISTED = re.compile(r"([^@\s><=][^\s><=@]*|@[^\s><=@]+)(.*)", re.DOTALL)
_SHORTCUTS = {"github": "github.com", "gitlab": "gitlab.com", "bitbucket": "bitbucket.org"}
_HOSTS = "|".join(map(re.escape, _SHORTCUTS.values()))
_ADDRESS = re.compile(
    rf"(?:(?:git\+)?(?:ssh|https?|git)://)?(?:[^/@\s]+@)?({_HOSTS})[:/]++([^#?]+?)(?:\.git)?/?(#.*)?"
)
_SHORTCUT = re.compile(
    rf"({'|'.join(_SHORTCUTS)}):(?:[^/@\s]+@)?([^#:/]+/[^#:]+?)(?:\.git)?/?(#.*)?"
)
_BARE = re.compile(r"([^@#:/.~\s][^@#:/\s]*/[^@#:/\s]+?)(?:\.git)?/?(#.*)?")


def read(package_json: bytes) -> dict[str, Any]:
    """The package.json of a tarball, read as npm does, without a byte order mark.

    Raises wire.Undecodable if it is not a JSON object.
    """
    found = wire.loads(package_json.removeprefix(_BOM))
    if not isinstance(found, dict):
        raise wire.Undecodable("package.json is not a JSON object")
    return found


def differences(manifest: Json, package_json: Json, *, has_binding_gyp: bool = False) -> list[str]:
    """The fields in which a manifest and the tarball's package.json say different things.

    `has_binding_gyp`: whether the tarball has one beside package.json.
    """
    found = [
        field
        for field, form in _FORMS.items()
        if form(manifest.get(field)) != form(package_json.get(field))
    ]
    pairs: dict[str, Callable[[Json], object]] = {
        "dependencies": _dependencies,
        "optionalDependencies": lambda side: _specs(side.get("optionalDependencies")),
        "peerDependenciesMeta": _optional_peers,
        "scripts": lambda side: _written_scripts(side, has_binding_gyp=has_binding_gyp),
    }
    found += [field for field, form in pairs.items() if form(manifest) != form(package_json)]
    if not _is_bundling_alike(manifest, package_json):
        found.append("bundleDependencies")
    if not _is_bin_alike(manifest, package_json):
        found.append("bin")
    return found


def _text(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) else None


def _version(value: Any) -> str | None:
    text = _text(value)
    return None if text is None else semver.clean(text, loose=True) or text


def _words(value: Any) -> tuple[str, ...]:
    """A list of words in their order; one word alone is written as a string too."""
    words = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(word for word in words if isinstance(word, str))


def _engines(value: Any) -> Any:
    """An object as it is; yarn makes one of a list."""
    return (_specs(value) if isinstance(value, list) else value) or None


def _specs(value: Any) -> dict[str, str]:
    """Names to what is wanted of each; old packages list them, or write them in a string."""
    if isinstance(value, str):
        value = re.split(r"[\s,]+", value.strip())
    if isinstance(value, list):
        found = (_LISTED.fullmatch(word.strip()) for word in value if isinstance(word, str))
        value = {each[1]: each[2].strip().removeprefix("@") for each in found if each}
    if not isinstance(value, dict):
        return {}
    return {name: _source(spec) for name, spec in value.items() if isinstance(spec, str)}


def _source(spec: str) -> str:
    """A spec; the many spellings of a repository at one of the known hosts become one."""
    text = spec.strip()
    if found := _ADDRESS.fullmatch(text):
        return f"{found[1]}/{found[2]}{found[3] or ''}"
    if found := _SHORTCUT.fullmatch(text):
        return f"{_SHORTCUTS[found[1]]}/{found[2]}{found[3] or ''}"
    if found := _BARE.fullmatch(text):
        return f"{_SHORTCUTS['github']}/{found[1]}{found[2] or ''}"
    return text


def _dependencies(side: Json) -> dict[str, str]:
    """The dependencies that are not optional: some tools write the optional ones there as well."""
    optional = _specs(side.get("optionalDependencies"))
    found = _specs(side.get("dependencies"))
    return {name: spec for name, spec in found.items() if name not in optional}


def _optional_peers(side: Json) -> set[str]:
    meta = side.get("peerDependenciesMeta")
    fields = meta.items() if isinstance(meta, dict) else ()
    return {
        name for name, each in fields if isinstance(each, dict) and each.get("optional") is True
    }


def scripts(side: Json) -> dict[str, str]:
    """The scripts that run unasked; npm takes off the folder of the package's own tools."""
    written = side.get("scripts")
    fields = written if isinstance(written, dict) else {}
    return {
        name: _OWN_TOOLS.sub("", fields[name])
        for name in LIFECYCLE
        if isinstance(fields.get(name), str) and fields[name]
    }


def has_install_script(package_json: Json, *, has_binding_gyp: bool) -> bool:
    """Whether something of the package runs when it is installed."""
    found = {"preinstall", "install", "postinstall"} & scripts(package_json).keys()
    return bool(found) or (has_binding_gyp and package_json.get("gypfile") is not False)


def _written_scripts(side: Json, *, has_binding_gyp: bool) -> dict[str, str]:
    """The scripts without the one that some tools add where there is a binding.gyp."""
    found = scripts(side)
    if has_binding_gyp and found.get("install") == GYP_SCRIPT:
        del found["install"]
    return found


def _is_bundling_alike(manifest: Json, package_json: Json) -> bool:
    """Whether both bundle the same; `true` stands for all dependencies, optional ones or not."""
    sides = (manifest, package_json)
    one, other = (_bundled(side) for side in sides)
    if not any(_bundling(side) is True for side in sides):
        return one == other
    optional = set().union(*(_specs(side.get("optionalDependencies")) for side in sides))
    return one - optional == other - optional


def _bundling(side: Json) -> Any:
    return side.get("bundleDependencies") or side.get("bundledDependencies")


def _bundled(side: Json) -> set[str]:
    written = _bundling(side)
    if written is True:
        return set(_specs(side.get("dependencies")))
    return set(_words(list(written))) if isinstance(written, dict | list) else set()


def _is_bin_alike(manifest: Json, package_json: Json) -> bool:
    """Whether both name the same commands; a tool may list what is in `directories.bin`."""
    one, other = _bin(manifest), _bin(package_json)
    folders = package_json.get("directories")
    folder = folders.get("bin") if isinstance(folders, dict) else None
    if other or not isinstance(folder, str):
        return one == other
    inside = _path(folder).rstrip("/") + "/"
    return all(
        path.startswith(inside) and posixpath.basename(path) == name for name, path in one.items()
    )


def _bin(side: Json) -> dict[str, str]:
    """Commands to files: one file alone is the command of the package's bare name."""
    written = side.get("bin")
    if isinstance(written, str):
        written = {_text(side.get("name")) or "": written}
    if isinstance(written, list):
        written = {posixpath.basename(path): path for path in written if isinstance(path, str)}
    if not isinstance(written, dict):
        return {}
    found = {_command(name): path for name, path in written.items() if isinstance(path, str)}
    return {name: _path(path) for name, path in found.items() if name and _path(path)}


def _command(name: str) -> str:
    return posixpath.basename(re.sub(r"[\\:]", "/", name))


def _path(path: str) -> str:
    """A path inside the package: `./a`, `/a` and `b/../a` are `a`."""
    return posixpath.normpath("/" + path.replace("\\", "/")).lstrip("/")


_FORMS: Mapping[str, Callable[[Any], object]] = {
    "name": _text,
    "version": _version,
    "peerDependencies": _specs,
    "engines": _engines,
    "os": _words,
    "cpu": _words,
    "libc": _words,
}
