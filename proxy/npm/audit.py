"""The bodies of npm's audits: which packages they name, and the same body without some of them.

npm sends the names of all packages of a project, private ones included, to the registry of the root
project (PROTOCOL 1.15); what is not an uplink's business is taken out here before it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from proxy.npm import wire

Keep = Callable[[str], bool]

# npm sends trees as deep as node_modules; a body deeper than this is not one.
_DEEPEST = 200


class BadAudit(ValueError):
    """A body that is not what npm sends."""


def bulk(body: bytes) -> dict[str, list[object]]:
    """The body of a bulk audit: `{"name": ["1.0.0", ...]}`. Raises BadAudit."""
    value = _loads(body)
    if not isinstance(value, dict) or not all(isinstance(v, list) for v in value.values()):
        message = 'a bulk audit is an object of lists: {"name": ["1.0.0"]}'
        raise BadAudit(message)
    return value


def encode(names: Mapping[str, list[object]]) -> bytes:
    """The body of a bulk audit of these names."""
    return wire.dumps(dict(names))


def merged(answers: Iterable[bytes]) -> bytes:
    """The answers of several uplinks as one.

    No two are asked about the same name. Raises BadAudit.
    """
    together: dict[str, object] = {}
    for answer in answers:
        value = _loads(answer)
        if not isinstance(value, dict):
            message = "the answer to a bulk audit is not an object"
            raise BadAudit(message)
        together.update(value)
    return wire.dumps(together)


def without(body: bytes, keep: Keep) -> bytes:
    """The body of a quick or full audit with only the packages that `keep` allows.

    It is a tree like a lockfile's. Raises BadAudit.
    """
    value = _loads(body)
    if not isinstance(value, dict):
        message = "an audit is an object"
        raise BadAudit(message)
    return wire.dumps(_pruned(value, keep, 0))


def _pruned(node: Mapping[str, object], keep: Keep, depth: int) -> dict[str, object]:
    if depth > _DEEPEST:
        message = f"the tree is deeper than {_DEEPEST}"
        raise BadAudit(message)
    pruned = dict(node)
    for field in ("requires", "dependencies"):
        named = node.get(field)
        if isinstance(named, dict):
            pruned[field] = {
                name: _pruned(entry, keep, depth + 1) if isinstance(entry, dict) else entry
                for name, entry in named.items()
                if keep(name)
            }
    return pruned


def _loads(body: bytes) -> object:
    try:
        return wire.loads(body)
    except wire.Undecodable as fault:
        message = f"not JSON: {fault}"
        raise BadAudit(message) from fault
