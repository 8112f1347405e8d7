"""Where a name lives, as of now: rules, names once published here, and a database that is away."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from proxy import errors
from proxy.npm import names
from proxy.npm.policy import HOSTED, Action, Origin, Rule, Rules
from proxy.registry import routing as routings
from proxy.registry.routing import Guard, Routing
from tests.fakes.memory_hosting import MemoryHosted
from tests.hosting import ANN, a_version

NPM, FORK = Origin("npm"), Origin("npm", is_merged=True)
REST = Rule(("*",), NPM)
RULES = Rules((Rule(("@acme/*",), HOSTED), REST))


class Counting(MemoryHosted):
    """Hosted packages that count how often all owned names were asked for.

    `is_cut` plays a change log that reaches back less far than is asked; `delay` a slow one.
    """

    asked = 0
    is_cut = False
    delay: asyncio.Event | None = None

    async def changes(self, since: int) -> Any:
        sequence, changed = await super().changes(since)
        if self.delay is not None:
            await self.delay.wait()
        return sequence, ["*"] if self.is_cut else changed

    async def owned(self) -> Any:
        self.asked += 1
        return await super().owned()


@pytest.fixture
def hosted() -> Counting:
    return Counting()


def routing_of(hosted: MemoryHosted, **parts: Any) -> Routing:
    mirrors = {"npm": cast("Any", "the mirror of npm")}
    return Routing(rules=RULES, mirrors=mirrors, published=hosted, **parts)


# --- the guard --------------------------------------------------------------------------------


def test_a_name_lives_where_its_rule_says() -> None:
    """Names that were never published here follow the rules."""
    guard = Guard(RULES)

    assert guard.origin_of("@acme/ui") == HOSTED
    assert guard.origin_of("lodash") == NPM
    assert guard.rule_of("lodash") is REST


def test_a_name_once_published_stays() -> None:
    """Whatever the rules say later, no uplink is asked for a name that was published here."""
    guard = Guard(RULES, {"lodash"})

    assert guard.origin_of("lodash") == HOSTED
    assert guard.origin_of("lodash.get") == NPM


def test_a_name_that_stayed_has_the_lists_of_what_is_hosted() -> None:
    """Its rule's list of readers holds on; without one, who is logged in reads and publishes."""
    rules = Rules((Rule(("open",), NPM, ("$all",)), REST))
    guard = Guard(rules, {"open", "lodash"})

    lists = [guard.rule_of(name).listed(Action.READ) for name in ("open", "lodash")]
    assert lists == [("$all",), ("$authenticated",)]
    assert guard.rule_of("open").listed(Action.PUBLISH) == ("$authenticated",)


@pytest.mark.parametrize("origin", [HOSTED, FORK])
def test_a_name_whose_rule_takes_versions_keeps_its_rule(origin: Origin) -> None:
    """A merged name that was published stays merged, with its own lists."""
    rule = Rule(("lodash",), origin, None, ("ann",))

    assert Guard(Rules((rule,)), {"lodash"}).rule_of("lodash") is rule


def test_the_guard_remembers_a_bounded_number_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for ever more names takes no more memory, and changes no answer."""
    monkeypatch.setattr(routings, "_MOST_REMEMBERED", 10)
    guard = Guard(RULES, {"n7"})

    origins = [guard.origin_of(f"n{number}") for number in (*range(50), *range(50))]

    assert origins == [HOSTED if number % 50 == 7 else NPM for number in range(100)]
    assert len(guard._known) <= 10


@pytest.mark.parametrize(
    ("rules", "rest"), [(RULES, "npm"), (Rules((Rule(("*",), HOSTED),)), None), (Rules(), None)]
)
def test_the_rest_is_the_uplink_of_all_other_names(rules: Rules, rest: str | None) -> None:
    """Search and the like go to the uplink that takes every name, if there is one."""
    assert Guard(rules).rest == rest


def test_the_uplinks_are_those_that_any_rule_names() -> None:
    """Every uplink that answers for some name is listed, merged ones too, and hosted is none."""
    rules = Rules((Rule(("a",), FORK), Rule(("b",), HOSTED), Rule(("*",), Origin("other"))))

    assert Guard(rules).uplinks == {"npm", "other"}


# --- routing ----------------------------------------------------------------------------------


async def test_a_publish_is_seen_at_the_next_question(hosted: Counting) -> None:
    """A name that somebody publishes is ours from then on, by the change log alone."""
    routing = routing_of(hosted)
    before = (await routing.guard()).origin_of("lodash")

    await hosted.publish(a_version(name="lodash"), ANN)

    assert (before, (await routing.guard()).origin_of("lodash")) == (NPM, HOSTED)
    assert hosted.asked == 1


async def test_an_unpublished_name_stays(hosted: Counting) -> None:
    """Also after its last version is gone a name is asked of nobody else, restarts included."""
    await hosted.publish(a_version(name="lodash"), ANN)
    routing = routing_of(hosted)
    await routing.guard()

    await hosted.remove_package("lodash", ANN)

    for each in (routing, routing_of(hosted)):
        assert (await each.guard()).origin_of("lodash") == HOSTED


async def test_without_a_change_the_guard_is_the_same(hosted: Counting) -> None:
    """A question costs a look at the counter, and a change to a known name builds nothing anew."""
    await hosted.publish(a_version("1.0.0", "lodash"), ANN)
    routing = routing_of(hosted)
    guard = await routing.guard()

    assert await routing.guard() is guard
    await hosted.publish(a_version("1.0.1", "lodash"), ANN)
    assert await routing.guard() is guard


async def test_a_log_that_was_cut_is_read_anew(hosted: Counting) -> None:
    """Where the change log reaches back less far than we do, all owned names are read again."""
    routing = routing_of(hosted)
    await routing.guard()

    await hosted.publish(a_version(name="lodash"), ANN)
    hosted.is_cut = True

    assert (await routing.guard()).origin_of("lodash") == HOSTED
    assert hosted.asked == 2


async def test_a_database_that_is_away_keeps_the_last_guard(hosted: Counting) -> None:
    """While the hosted packages cannot be read, names live where they were last known to."""
    await hosted.publish(a_version(name="lodash"), ANN)
    routing = routing_of(hosted)
    guard = await routing.guard()

    hosted.store.is_away = True

    assert await routing.guard() is guard


async def test_a_database_that_was_never_read_is_an_error(hosted: Counting) -> None:
    """Before the owned names are known no name is said to live anywhere."""
    hosted.store.is_away = True
    routing = routing_of(hosted)

    with pytest.raises(errors.StorageAway):
        await routing.guard()
    hosted.store.is_away = False
    assert (await routing.guard()).origin_of("lodash") == NPM


async def test_what_was_missed_while_away_is_caught_up(hosted: Counting) -> None:
    """The first question after an outage knows of everything that was published meanwhile."""
    routing = routing_of(hosted)
    await routing.guard()
    await hosted.publish(a_version(name="lodash"), ANN)
    hosted.store.is_away = True
    during = (await routing.guard()).origin_of("lodash")

    hosted.store.is_away = False

    assert (during, (await routing.guard()).origin_of("lodash")) == (NPM, HOSTED)


async def test_replaced_rules_are_in_force_at_once(hosted: Counting) -> None:
    """Other rules hold from the next question on, and what was published still stays."""
    await hosted.publish(a_version(name="lodash"), ANN)
    routing = routing_of(hosted)
    await routing.guard()

    routing.replace(Rules((Rule(("a",), HOSTED, ("ann",)), REST)))

    guard = await routing.guard()
    assert guard.rule_of("a").listed(Action.READ) == ("ann",)
    assert (routing.names("ann"), routing.names("bob")) == (True, False)
    assert [str(guard.origin_of(name)) for name in ("@acme/ui", "lodash")] == ["npm", "hosted"]


async def test_the_log_is_looked_at_now_and_then(hosted: Counting) -> None:
    """Between two looks, `recheck` apart, a publish changes nothing."""
    now = 100.0
    routing = routing_of(hosted, recheck=timedelta(seconds=1), monotonic=lambda: now)
    await routing.guard()
    await hosted.publish(a_version(name="lodash"), ANN)

    now += 0.9
    before = (await routing.guard()).origin_of("lodash")
    now += 0.2

    assert (before, (await routing.guard()).origin_of("lodash")) == (NPM, HOSTED)


async def test_other_rules_hold_with_all_that_was_published_until_then(hosted: Counting) -> None:
    """What was published since the last look stays under the new rules, for each that asks."""
    routing = routing_of(hosted, recheck=timedelta(hours=1))
    await routing.guard()
    await hosted.publish(a_version(name="@acme/ui"), ANN)
    hosted.delay = asyncio.Event()

    routing.replace(Rules((REST,)))
    asking = [asyncio.create_task(routing.guard()) for _ in range(3)]
    await asyncio.sleep(0)
    hosted.delay.set()

    assert {(await each).origin_of("@acme/ui") for each in asking} == {HOSTED}


async def test_what_a_worker_under_the_old_rules_publishes_stays(hosted: Counting) -> None:
    """While others may still go by the rules before, no question trusts the last look."""
    now = 100.0
    routing = routing_of(hosted, recheck=timedelta(hours=1), monotonic=lambda: now)
    routing.replace(Rules((REST,)))
    assert (await routing.guard()).origin_of("@acme/ui") == NPM

    await hosted.publish(a_version(name="@acme/ui"), ANN)
    now += 9

    assert (await routing.guard()).origin_of("@acme/ui") == HOSTED


async def test_rules_replaced_during_a_look_are_looked_at_again(hosted: Counting) -> None:
    """A look that began under other rules does not count for those that are in force at its end."""
    routing = routing_of(hosted, recheck=timedelta(hours=1))
    hosted.delay = asyncio.Event()
    first = asyncio.create_task(routing.guard())
    await asyncio.sleep(0)

    routing.replace(Rules((REST,)))
    hosted.delay.set()
    await first
    await hosted.publish(a_version(name="@acme/ui"), ANN)

    assert (await routing.guard()).origin_of("@acme/ui") == HOSTED


async def test_rules_replaced_before_the_first_question_are_those_that_hold(
    hosted: Counting,
) -> None:
    """Rules may be replaced before anybody has asked."""
    routing = routing_of(hosted)

    routing.replace(Rules((REST,)))

    assert (await routing.guard()).origin_of("@acme/ui") == NPM
    assert routing.claimed == ()


async def test_a_mirror_is_given_for_names_of_an_uplink_only(hosted: Counting) -> None:
    """A hosted name has no mirror, whoever asks: it is not there, and nobody else is asked."""
    routing = routing_of(hosted)

    assert await routing.mirror(names.parse("lodash")) == "the mirror of npm"
    with pytest.raises(errors.PackageNotFound):
        await routing.mirror(names.parse("@acme/ui"))
    assert list(routing.mirrors) == ["npm"]
    assert routing.claimed == ("@acme/*",)
