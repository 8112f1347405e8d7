"""What a client asks a registry for when it has taken a version: the packages that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from proxy.errors import InvalidName
from proxy.npm import names
from proxy.npm.choosing import Choice
from proxy.npm.lockfiles import sources
from proxy.npm.names import PackageName

# Real manifests have a hundred at most; one with more is not worth following to the end.
MOST_WANTS = 200


@dataclass(frozen=True, slots=True)
class Want:
    """A package, and the range or dist-tag in which it is wanted."""

    name: PackageName
    spec: str


def wants(choice: Choice) -> tuple[Want, ...]:
    """What a version has a client ask a registry for; of very many the first."""
    return tuple(islice(_wants(choice), MOST_WANTS))


def is_for_all(choice: Choice) -> bool:
    """Whether every platform needs it; of another, nobody knows whether this client is on one."""
    return not (choice.os or choice.cpu or choice.libc)


def _wants(choice: Choice) -> Iterator[Want]:
    for need in choice.needs:
        asked = sources.asked(need.name, need.spec)
        if isinstance(asked, str):
            continue  # it comes from elsewhere
        try:
            yield Want(names.parse(asked[0]), asked[1])
        except InvalidName:
            continue
