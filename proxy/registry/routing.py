"""Where a name lives: the one question every story asks before it touches an uplink or a cache.

A name once published here stays here: it is hosted whatever the rules say later, or merged where a
rule says so. Which names those are is read once; then the change log says what was added. That is
looked at every `recheck` only: a name that is published now has a rule that lets it live here, so
that it matters only when other rules are put in force. Then it is read at once, and for each
question as long as another worker may still go by the rules before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from proxy import errors
from proxy.npm.names import PackageName
from proxy.npm.policy import EVERYTHING, HOSTED, Origin, Rule, Rules
from proxy.registry.mirroring.mirror import Mirror

_MOST_REMEMBERED = 16_384
# How long after us the last worker puts other rules in force.
_OTHERS_FOLLOW = timedelta(seconds=10)


class Published(Protocol):
    """The part of HostedIndex that tells which names were ever published here."""

    def revision(self) -> int: ...

    async def changes(self, since: int) -> tuple[int, Sequence[str]]: ...

    async def owned(self) -> Sequence[str]: ...


class Guard:
    """The rules as of now, and the names that are ours."""

    def __init__(self, rules: Rules, owned: Collection[str] = frozenset()) -> None:
        self._rules = rules
        self._owned = frozenset(owned)
        self._known: dict[str, tuple[Rule, Origin]] = {}

    def origin_of(self, name: str) -> Origin:
        """The one place that answers for `name`. Nothing else decides that."""
        return self._of(name)[1]

    def rule_of(self, name: str) -> Rule:
        """The rule that says who may do what with `name`."""
        return self._of(name)[0]

    @property
    def uplinks(self) -> frozenset[str]:
        """Every uplink that answers for any name."""
        named = {rule.origin.uplink for rule in self._rules.rules}
        return frozenset(uplink for uplink in named if uplink is not None)

    @property
    def takes_versions(self) -> bool:
        """Whether anything can be published here, or ever was."""
        return bool(self._owned) or any(rule.origin.takes_versions for rule in self._rules.rules)

    @property
    def rest(self) -> str | None:
        """The uplink of all names that no particular rule takes: it answers search and the like."""
        for rule in self._rules.rules:
            if EVERYTHING in rule.match:
                return rule.origin.uplink
        return None

    def _of(self, name: str) -> tuple[Rule, Origin]:
        known = self._known.get(name)
        if known is not None:
            return known
        rule = self._rules.rule_of(name)
        stays = name in self._owned and not rule.origin.takes_versions
        found = (Rule(rule.match, HOSTED, rule.read), HOSTED) if stays else (rule, rule.origin)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[name] = found
        return found


class Routing:
    """The rules in force, and the mirrors they lead to. `replace` puts other rules in force."""

    def __init__(
        self,
        *,
        rules: Rules,
        mirrors: Mapping[str, Mirror],
        published: Published,
        recheck: timedelta = timedelta(0),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._mirrors = mirrors
        self._published = published
        self._recheck = recheck
        self._monotonic = monotonic
        self._checked_at = self._watched_until = float("-inf")
        self._revision: int | None = None
        self._sequence = -1
        self._owned: frozenset[str] = frozenset()
        self._guard: Guard | None = None

    @property
    def mirrors(self) -> Mapping[str, Mirror]:
        """All mirrors by the name of their uplink."""
        return self._mirrors

    @property
    def claimed(self) -> Sequence[str]:
        """The patterns of the names that live here by rule."""
        return self._rules.claimed

    def names(self, user: str) -> bool:
        """Whether the rules in force name this very user."""
        return self._rules.names(user)

    def replace(self, rules: Rules) -> None:
        """Put `rules` in force from the next question on."""
        self._rules = rules
        self._checked_at = float("-inf")
        self._watched_until = self._monotonic() + _OTHERS_FOLLOW.total_seconds()
        if self._guard is not None:
            self._guard = Guard(rules, self._owned)

    async def guard(self) -> Guard:
        """Who answers for which name, as of this moment.

        While the database of hosted packages cannot be read, as of the last time that it could.
        """
        now, rules = self._monotonic(), self._rules
        is_young = now - self._checked_at < self._recheck.total_seconds()
        if self._guard is not None and is_young and now >= self._watched_until:
            return self._guard
        try:
            revision = self._published.revision()
            if self._guard is None or revision != self._revision:
                await self._catch_up(revision)
            # Not before: whoever asks meanwhile would go by other rules and the names of a second
            # ago, and an uplink would hear of a name that was published in between.
            if rules is self._rules:
                self._checked_at = now
        except (errors.StorageAway, errors.StorageCorrupt):
            if self._guard is None:
                raise
        assert self._guard is not None  # noqa: S101  # _catch_up has set it
        return self._guard

    async def _catch_up(self, revision: int) -> None:
        # The counter was read before the log: a commit in between is seen again next time.
        sequence, changed = await self._published.changes(self._sequence)
        is_lost = self._guard is None or "*" in changed
        owned = frozenset(await self._published.owned()) if is_lost else self._owned.union(changed)
        if self._guard is None or owned != self._owned:
            self._owned, self._guard = owned, Guard(self._rules, owned)
        self._revision, self._sequence = revision, sequence

    async def mirror(self, name: PackageName) -> Mirror:
        """The mirror `name` comes from.

        Raises PackageNotFound for a hosted name: its miss is our own 404.
        """
        uplink = (await self.guard()).origin_of(name.full).uplink
        if uplink is None:
            raise errors.PackageNotFound(name=name.full)
        return self._mirrors[uplink]
