"""Where a name lives: the one question every story asks before it touches an uplink or a cache."""

from __future__ import annotations

from collections.abc import Mapping

from proxy import errors
from proxy.npm.names import PackageName
from proxy.npm.policy import EVERYTHING, Rules
from proxy.registry.mirror import Mirror


class Routing:
    """The rules in force, and the mirrors they lead to. `replace` puts other rules in force."""

    def __init__(self, *, rules: Rules, mirrors: Mapping[str, Mirror]) -> None:
        self._rules = rules
        self._mirrors = mirrors

    @property
    def mirrors(self) -> Mapping[str, Mirror]:
        """All mirrors by the name of their uplink."""
        return self._mirrors

    def replace(self, rules: Rules) -> None:
        """Put `rules` in force from the next question on."""
        self._rules = rules

    def uplink_of(self, name: str) -> str | None:
        """The name of the uplink that `name` comes from.

        None if it is hosted here and must not be asked for.
        """
        return self._rules.origin_of(name).uplink

    @property
    def rest(self) -> str | None:
        """The uplink of all names that no particular rule takes.

        It answers search and the like.
        """
        for rule in self._rules.rules:
            if EVERYTHING in rule.match:
                return rule.origin.uplink
        return None

    def mirror(self, name: PackageName) -> Mirror:
        """The mirror `name` comes from.

        Raises PackageNotFound for a hosted name: its miss is our own 404.
        """
        uplink = self.uplink_of(name.full)
        if uplink is None:
            raise errors.PackageNotFound(name=name.full)
        return self._mirrors[uplink]
