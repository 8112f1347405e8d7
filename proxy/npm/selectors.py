"""What a mirror rule names: `react`, `lodash@^4`, `@types/*`.

A name may be followed by a range or a dist-tag. One with `*` in it is a pattern, as in the rules
that say where names live, and stands for those among the packages that are held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from proxy.npm import policy

_WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class Selector:
    """Packages, by a name or a pattern, and which of their versions besides those of tags."""

    pattern: str
    range: str | None = None

    def __str__(self) -> str:
        return self.pattern if self.range is None else f"{self.pattern}@{self.range}"

    @property
    def is_name(self) -> bool:
        """Whether it names one package, be it held or not."""
        return _WILDCARD not in self.pattern


class Unfit(ValueError):
    """This names no package; the text says why."""


def parse(text: str) -> Selector:
    """Read one. Raises Unfit."""
    pattern, at, spec = text.strip().partition("@")
    if not pattern and at:
        # The first of two is the scope's.
        pattern, at, spec = spec.partition("@")
        pattern = f"@{pattern}"
    reason = policy.flaw_of_pattern(pattern)
    if reason is not None:
        raise Unfit(reason)
    if at and (not spec.strip() or not spec.isprintable()):
        raise Unfit(f'"{text}" says no range after the @; write "{pattern}" or "{pattern}@^1"')
    return Selector(pattern, spec.strip() or None)


def select(selectors: Sequence[Selector], held: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """The packages that are meant, each with its ranges, given the names of what is held."""
    found: dict[str, dict[str, None]] = {}
    for selector in selectors:
        if selector.is_name:
            _add(found, selector.pattern, selector)
    patterns = [each for each in selectors if not each.is_name]
    for name in held if patterns else ():
        for selector in patterns:
            if policy.matches(selector.pattern, name):
                _add(found, name, selector)
    return {name: tuple(specs) for name, specs in found.items()}


def _add(found: dict[str, dict[str, None]], name: str, selector: Selector) -> None:
    specs = found.setdefault(name, {})
    if selector.range is not None:
        specs[selector.range] = None
