"""proxy.registry.hot."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.registry.hot import Hot


class _Log:
    """A change log in a list, with the counter that moves when something is added."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.looks = 0

    def revision(self) -> int:
        return len(self.names)

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        self.looks += 1
        return len(self.names), [] if since == -1 else self.names[since:]


def _hot(log: _Log, *, limit_bytes: int = 100, largest_bytes: int = 50) -> Hot[str]:
    return Hot(log=log, limit_bytes=limit_bytes, largest_bytes=largest_bytes)


async def _kept(hot: Hot[str], name: str, key: str, value: str, size_bytes: int = 1) -> None:
    await hot.get(name, key)
    hot.put(name, key, value, size_bytes, as_of=hot.sequence)


async def test_a_value_is_found_again() -> None:
    """What was put is got."""
    hot = _hot(_Log())

    await _kept(hot, "lodash", "full", "bytes")

    assert await hot.get("lodash", "full") == "bytes"
    assert await hot.get("lodash", "abbreviated") is None


async def test_a_change_drops_that_name_only() -> None:
    """A row in the change log drops every key of its name, and nothing else."""
    log = _Log()
    hot = _hot(log)
    await _kept(hot, "lodash", "full", "1")
    await _kept(hot, "lodash", "abbreviated", "2")
    await _kept(hot, "react", "full", "3")

    log.names.append("lodash")

    assert await hot.get("lodash", "full") is None
    assert await hot.get("lodash", "abbreviated") is None
    assert await hot.get("react", "full") == "3"


async def test_the_log_is_read_only_when_the_counter_moved() -> None:
    """A hit costs one look at the counter and none at the log."""
    log = _Log()
    hot = _hot(log)
    await _kept(hot, "lodash", "full", "1")
    looks = log.looks

    for _ in range(10):
        await hot.get("lodash", "full")

    assert log.looks == looks


async def test_a_value_worked_out_before_a_change_is_not_kept() -> None:
    """Whoever started before the change would put back what the change has just dropped."""
    log = _Log()
    hot = _hot(log)
    await hot.get("lodash", "full")
    as_of = hot.sequence

    log.names.append("lodash")
    await hot.get("react", "full")
    hot.put("lodash", "full", "old", 1, as_of=as_of)

    assert await hot.get("lodash", "full") is None


async def test_a_log_that_does_not_reach_back_drops_everything() -> None:
    """`*` in the log means: anything may have changed."""
    log = _Log()
    hot = _hot(log)
    await _kept(hot, "lodash", "full", "1")

    log.names.append("*")

    assert await hot.get("lodash", "full") is None
    assert hot.held_bytes == 0


async def test_the_least_recently_used_goes_first() -> None:
    """Past the limit, what nobody has asked for longest is dropped."""
    hot = _hot(_Log(), limit_bytes=100)
    for name in ("a", "b", "c"):
        await _kept(hot, name, "full", name, 33)
    await hot.get("a", "full")

    await _kept(hot, "d", "full", "d", 33)

    assert await hot.get("b", "full") is None
    assert await hot.get("a", "full") == "a"
    assert hot.held_bytes == 99


async def test_a_giant_is_not_kept_and_drives_nobody_out() -> None:
    """A value above the largest size is passed over (RELIABILITY threat 31)."""
    hot = _hot(_Log(), largest_bytes=50)
    await _kept(hot, "small", "full", "1", 10)

    await _kept(hot, "giant", "full", "2", 51)

    assert await hot.get("giant", "full") is None
    assert await hot.get("small", "full") == "1"


async def test_putting_again_replaces_and_counts_once() -> None:
    """The bytes of what was replaced are given back."""
    hot = _hot(_Log())
    await _kept(hot, "lodash", "full", "old", 40)

    await _kept(hot, "lodash", "full", "new", 10)

    assert (await hot.get("lodash", "full"), hot.held_bytes, len(hot)) == ("new", 10, 1)


async def test_what_was_worked_out_before_a_clearing_is_not_kept() -> None:
    """A value that was begun under rules since replaced does not come back after the clearing."""
    hot = _hot(_Log())
    as_of = hot.sequence
    hot.clear()

    hot.put("lodash", "full", "old", 1, as_of=as_of)

    assert await hot.get("lodash", "full") is None
