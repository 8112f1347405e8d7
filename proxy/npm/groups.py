"""Organisations and teams, by name: `acme` and `acme:core`, in rules `@acme` and `@acme:core`.

The `@` is a sign and no part of the name: npm leaves it out of some addresses and not of others.
"""

from __future__ import annotations

import re

from proxy.errors import InvalidRequest, NotFound

LONGEST_DESCRIPTION = 1000

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,213}")
_SHAPE = "up to 214 characters of a-z, 0-9, '-', '_' and '.', of which a letter or digit is first"
# The words of rules are `$all` and `$authenticated`; `@all` would be taken for one of them.
_RESERVED = frozenset({"all", "authenticated"})


def org(text: str) -> str:
    """The name of an organisation in an address. Raises NotFound for what no one is called."""
    return _known(text.removeprefix("@"), "organisation")


def team(text: str) -> str:
    """The name of a team in an address. Raises NotFound for what no team is called."""
    return _known(text, "team")


def check_new(name: str, kind: str) -> None:
    """Raise InvalidRequest unless a new organisation or team (`kind`) may be called so."""
    if name in _RESERVED:
        raise InvalidRequest(reason=f"no {kind} is called {name}: rules have a word like it")
    if _NAME.fullmatch(name) is None:
        raise InvalidRequest(reason=f"no {kind} is called so; a name is {_SHAPE}")


def check_description(text: str) -> None:
    """Raise InvalidRequest unless a team may be described so."""
    if len(text) > LONGEST_DESCRIPTION:
        raise InvalidRequest(
            reason=f"a team is described in at most {LONGEST_DESCRIPTION} characters"
        )


def _known(name: str, kind: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise NotFound(reason=f"no {kind} is called so; a name is {_SHAPE}")
    return name
