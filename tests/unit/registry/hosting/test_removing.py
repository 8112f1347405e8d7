"""How long a version may be taken back, and where `latest` goes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import errors
from proxy.npm import semver
from proxy.registry.hosting.removing import Removing, newest
from proxy.registry.people.callers import Caller
from proxy.storage.hosting import HostedVersion
from tests.hosting import NOON

DAY = timedelta(days=1)
ANN, ROOT = Caller(user="ann"), Caller(user="root", is_admin=True)


def published(age: timedelta, version: str = "1.0.0") -> HostedVersion:
    return HostedVersion(version, b"{}", "f", "d", 1, "i", "s", NOON - age, "ann", None, False)


def removing(window: timedelta | None) -> Removing:
    return Removing(window=window, clock=lambda: NOON)


@pytest.mark.parametrize("age", [timedelta(0), DAY - timedelta(microseconds=1)])
def test_a_young_version_may_go(age: timedelta):
    """A version younger than the window may be taken back by who may unpublish."""
    removing(DAY).require(ANN, "ui", [published(age)])


@pytest.mark.parametrize("age", [DAY, DAY * 100])
def test_an_old_version_stays(age: timedelta):
    """One version that is as old as the window keeps all that were to go with it."""
    with pytest.raises(errors.Forbidden, match=r"ui@1\.0\.0 was published more than 24 hours ago"):
        removing(DAY).require(ANN, "ui", [published(timedelta(0), "2.0.0"), published(age)])


def test_never():
    """Without a window nothing goes, however young."""
    with pytest.raises(errors.Forbidden, match="nothing is unpublished here"):
        removing(timedelta(0)).require(ANN, "ui", [published(timedelta(0))])


@pytest.mark.parametrize("window", [None, timedelta(0), DAY])
def test_administrators(window: timedelta | None):
    """An administrator may take back a version of any age."""
    removing(window).require(ROOT, "ui", [published(DAY * 1000)])


def test_always():
    """Where it may always be done, age is not looked at."""
    removing(None).require(ANN, "ui", [published(DAY * 1000)])


@pytest.mark.parametrize(
    ("versions", "highest"),
    [
        (["1.0.0", "1.0.10", "1.0.9"], "1.0.10"),
        (["1.0.0", "2.0.0-rc.1"], "1.0.0"),
        (["2.0.0-rc.2", "2.0.0-rc.10"], "2.0.0-rc.10"),
        (["not a version", "1.0.0-a"], "1.0.0-a"),
        (["not a version"], "not a version"),
    ],
)
def test_newest(versions: list[str], highest: str):
    """`latest` is the highest release, or the highest prerelease where there is no release."""
    assert newest(versions) == highest


@given(st.lists(st.tuples(*[st.integers(0, 20)] * 3, st.booleans()), min_size=1))
def test_newest_is_none_of_the_lower(numbers: list[tuple[int, int, int, bool]]):
    """No release is higher than the newest, and none at all is if it is a prerelease."""
    versions = [f"{a}.{b}.{c}{'-x' if is_pre else ''}" for a, b, c, is_pre in numbers]
    found = newest(versions)
    releases = [version for version in versions if "-" not in version]

    assert found in (releases or versions)
    assert all(semver.compare(found, other) >= 0 for other in (releases or versions))
