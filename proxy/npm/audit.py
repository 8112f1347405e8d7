"""The bodies of npm's audits: which packages they name, and the same body without some of them.

npm sends the names of all packages of a project, private ones included, to the registry of the root
project (PROTOCOL 1.15); what is not an uplink's business is taken out here before it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from proxy.npm import wire
from proxy.npm.wire import Raw

Keep = Callable[[str], bool]
Advisories = Mapping[str, Raw]

# npm sends trees as deep as node_modules; a body deeper than this is not one.
_DEEPEST = 100
_ALIAS = "npm:"


class BadAudit(ValueError):
    """A body that is not what npm sends, or what a registry answers."""


def bulk(body: bytes) -> dict[str, list[object]]:
    """The body of a bulk audit: `{"name": ["1.0.0", ...]}`. Raises BadAudit."""
    value = _object(body)
    asked = {name: versions for name, versions in value.items() if isinstance(versions, list)}
    if len(asked) < len(value):
        message = 'a bulk audit is an object of lists: {"name": ["1.0.0"]}'
        raise BadAudit(message)
    return asked


def encode(names: Mapping[str, list[object]]) -> bytes:
    """The body of a bulk audit of these names. Raises BadAudit."""
    return _encoded(dict(names))


def advisories(answer: bytes, asked: Container[str]) -> Advisories:
    """The answer to a bulk audit, each name's part untouched, without names nobody `asked` for.

    An uplink speaks for its own names only. Raises BadAudit.
    """
    return {name: raw for name, raw in _envelope(answer).items() if name in asked}


def merged(answers: Iterable[Advisories]) -> bytes:
    """The answers of several uplinks as one. No two speak of the same name."""
    return wire.join((name, raw) for answer in answers for name, raw in answer.items())


def check_report(answer: bytes) -> bytes:
    """The answer to a quick or full audit as it is, if it is an object. Raises BadAudit."""
    _envelope(answer)
    return answer


def without(body: bytes, keep: Keep) -> bytes:
    """The body of a quick or full audit with only the packages that `keep` allows.

    It is a tree like a lockfile's. A package that must not be named, but has others below it that
    may, keeps its place under a made-up name, so that those are audited too. Raises BadAudit.
    """
    tree = _pruned(_object(body), keep, 0)
    name = tree.get("name")
    if isinstance(name, str) and not keep(name):
        del tree["name"]
    for field in ("install", "remove"):
        specs = tree.get(field)
        if isinstance(specs, list):
            tree[field] = [spec for spec in specs if isinstance(spec, str) and keep(_name(spec))]
    return _encoded(tree)


def _pruned(node: Mapping[str, object], keep: Keep, depth: int) -> dict[str, object]:
    if depth > _DEEPEST:
        message = f"the tree is deeper than {_DEEPEST}"
        raise BadAudit(message)
    pruned = dict(node)
    requires, dependencies = node.get("requires"), node.get("dependencies")
    if isinstance(requires, dict):
        pruned["requires"] = {
            name: spec for name, spec in requires.items() if _may_be_named(name, spec, keep)
        }
    if isinstance(dependencies, dict):
        pruned["dependencies"] = dict(_dependencies(dependencies, keep, depth))
    return pruned


def _dependencies(
    named: Mapping[str, object], keep: Keep, depth: int
) -> Iterator[tuple[str, object]]:
    for number, (name, entry) in enumerate(named.items(), start=1):
        if not isinstance(entry, dict):
            if keep(name):
                yield name, entry
            continue
        below = _pruned(entry, keep, depth + 1)
        children = below.get("dependencies")
        if _may_be_named(name, entry.get("version"), keep):
            yield name, below
        elif isinstance(children, dict) and children:
            yield f"private-{number}", {"version": "0.0.0", "dependencies": children}


def _may_be_named(name: str, spec: object, keep: Keep) -> bool:
    """Whether neither the name nor what it is an alias of (`npm:other@1.0.0`) is to be left out."""
    if isinstance(spec, str) and spec.startswith(_ALIAS):
        return keep(name) and keep(_name(spec.removeprefix(_ALIAS)))
    return keep(name)


def _name(spec: str) -> str:
    """The name in `name@range`; the first character is no separator, it may start a scope."""
    return spec[:1] + spec[1:].partition("@")[0]


def _object(body: bytes) -> dict[str, object]:
    try:
        value = wire.loads(body)
    except wire.Undecodable as fault:
        message = f"not JSON: {fault}"
        raise BadAudit(message) from fault
    if not isinstance(value, dict):
        message = "an audit is an object"
        raise BadAudit(message)
    return value


def _envelope(answer: bytes) -> dict[str, Raw]:
    try:
        wire.check_text(answer)
        return wire.envelope(answer)
    except wire.Undecodable as fault:
        message = f"the answer to an audit is not an object: {fault}"
        raise BadAudit(message) from fault


def _encoded(value: object) -> bytes:
    try:
        return wire.dumps(value)
    except wire.Undecodable as fault:
        message = f"the audit cannot be passed on: {fault}"
        raise BadAudit(message) from fault
