"""What is believed of an uplink after each word that came of it."""

from __future__ import annotations

import pytest

from proxy import errors
from proxy.upstream.presence import OFFLINE, Absence, Presence

FACTS = {"uplink": "npm", "reason": "it is so"}
AWAY = [
    errors.UplinkAway(**FACTS),
    errors.UplinkUnreachable(**FACTS),
    errors.UplinkTimeout(**FACTS),
]
NEITHER = [
    errors.UplinkBroken(**FACTS),
    errors.IntegrityMismatch(**FACTS, name="n", file="n-1.0.0.tgz"),
]


def test_here_until_something_else_is_heard() -> None:
    """An uplink nobody has asked yet is not absent."""
    assert Presence().absence is None


@pytest.mark.parametrize("fault", AWAY, ids=lambda fault: type(fault).__name__)
def test_away_until_an_answer(fault: errors.UplinkError) -> None:
    """A fault that says nobody is there makes it absent, with its reason, until any answer."""
    presence = Presence()

    presence.failed(fault)

    assert presence.absence == Absence("it is so", is_offline=False)
    presence.answered()
    assert presence.absence is None


@pytest.mark.parametrize("fault", NEITHER, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("before", [None, Absence("before")], ids=["here", "away"])
def test_an_unusable_answer_changes_nothing(
    fault: errors.UplinkError, before: Absence | None
) -> None:
    """What is broken may be one thing only, and it is no sign of recovery either."""
    presence = Presence(before)

    presence.failed(fault)

    assert presence.absence == before


def test_offline_was_decided() -> None:
    """Being offline is told apart from an outage, and says why."""
    assert OFFLINE.is_offline
    assert "offline" in OFFLINE.reason
