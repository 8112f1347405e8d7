"""choosing: every version that some client would take for a range, and what it needs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import choosing, ranges
from proxy.npm.choosing import Chosen, Need
from proxy.npm.dist import Dist


def manifests(*versions: str, **fields: object) -> dict[str, bytes]:
    return {version: json.dumps({"version": version, **fields}).encode() for version in versions}


def taken(chosen: Chosen) -> list[str]:
    return [each.version for each in chosen.choices]


ALL = manifests("1.0.0", "1.2.0", "1.3.0", "2.0.0", "2.1.0-rc.1") | manifests(
    "1.4.0", deprecated="do not"
)
TAGS = {"latest": "1.2.0", "next": "2.1.0-rc.1", "gone": "9.9.9"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("1.0.0", ["1.0.0"]),
        ("next", ["2.1.0-rc.1"]),
        ("^1", ["1.2.0", "1.4.0", "1.3.0"]),
        (">=1.3", ["2.0.0"]),
        ("~1.3 || ~1.4", ["1.4.0", "1.3.0"]),
        ("*", ["1.2.0", "2.0.0"]),
        ("", ["1.2.0", "2.0.0"]),
        ("^2.1.0-rc", ["2.1.0-rc.1"]),
        ("^1.4", ["1.4.0"]),
        ("v1.0.0", ["1.0.0"]),
        ("^3", []),
        ("gone", []),
        ("what ever", []),
    ],
)
def test_what_a_range_brings(spec, expected):
    """`latest` if it fits, the highest, and the highest that is not deprecated."""
    chosen = choosing.choose(ALL, TAGS, specs=[spec])

    assert taken(chosen) == expected
    assert chosen.missing == (() if expected else (spec,))


def test_exact_versions_are_taken_as_they_are():
    """A lockfile's version is one that is listed under that very name, or it is missing."""
    chosen = choosing.choose(ALL, TAGS, exact=["1.0.0", "v1.0.0", "1.0.0"], specs=["1.0.0"])

    assert taken(chosen) == ["1.0.0"]
    assert chosen.missing == ("v1.0.0",)


def test_a_latest_that_is_a_prerelease_is_taken_for_anything():
    """A package with prereleases only is installed by its `latest`."""
    chosen = choosing.choose(manifests("1.0.0-a", "1.0.0-b"), {"latest": "1.0.0-a"}, specs=["*"])

    assert taken(chosen) == ["1.0.0-a"]


def test_what_a_version_needs():
    """Dependencies of three sorts, not what is bundled; and peers that need not be there."""
    fields = {
        "dependencies": {"a": "^1", "inside": "1", "both": "2", "odd": 1},
        "optionalDependencies": {"both": "2", "native": "3"},
        "peerDependencies": {"peer": "4", "spare": "5"},
        "peerDependenciesMeta": {"spare": {"optional": True}, "peer": {"optional": False}},
        "bundleDependencies": ["inside"],
        "devDependencies": {"never": "1"},
    }
    (choice,) = choosing.choose(manifests("1.0.0", **fields), {}, exact=["1.0.0"]).choices

    assert set(choice.needs) == {
        Need("a", "^1", False),
        Need("both", "2", True),
        Need("native", "3", True),
        Need("peer", "4", False),
    }
    assert choice.spare == (Need("spare", "5", False),)


def test_platforms_and_dist():
    """Lists and single words are read, and the dist as it is."""
    dist = {"tarball": "https://registry.example/a.tgz", "integrity": "sha512-x"}
    fields = {"os": "linux", "cpu": ["x64", "arm64"], "libc": [1], "dist": dist}
    (choice,) = choosing.choose(manifests("1.0.0", **fields), {}, exact=["1.0.0"]).choices

    assert (choice.os, choice.cpu, choice.libc) == (("linux",), ("x64", "arm64"), ())
    assert choice.dist == Dist("1.0.0", dist["tarball"], "sha512-x", None)


@pytest.mark.parametrize("manifest", [b"1", b"[]", b'{"dependencies":1,"os":{},"dist":[]}'])
def test_what_is_wrong_counts_as_absent(manifest):
    """A manifest of the wrong type has no needs, no platforms and no tarball."""
    (choice,) = choosing.choose({"1.0.0": manifest}, {}, exact=["1.0.0"]).choices

    assert (choice.needs, choice.os, choice.dist) == ((), (), None)


def test_names_that_are_no_versions_are_passed_over():
    """What no client could compare is taken by its very name only."""
    odd = manifests("one", "1.0.0")

    assert taken(choosing.choose(odd, {}, specs=["*"])) == ["1.0.0"]
    assert taken(choosing.choose(odd, {}, specs=["one"])) == ["one"]


_VERSIONS = st.builds("{}.{}.{}".format, *(st.integers(0, 3) for _ in range(3)))


@given(
    versions=st.sets(_VERSIONS, min_size=1),
    spec=_VERSIONS.map("^{}".format) | _VERSIONS.map("~{}".format) | _VERSIONS.map(">={}".format),
    data=st.data(),
)
def test_all_that_is_chosen_fits_and_the_highest_is_among_it(versions, spec, data):
    """Whatever is tagged: what is chosen is in the range, and the highest of it is chosen."""
    latest = data.draw(st.sampled_from(sorted(versions)))
    chosen = taken(choosing.choose(manifests(*versions), {"latest": latest}, specs=[spec]))

    highest = ranges.max_satisfying(versions, spec)
    assert (highest in chosen) == bool(chosen)
    assert all(ranges.satisfies(each, spec) for each in chosen)
    assert not ranges.satisfies(latest, spec) or latest in chosen


@pytest.mark.parametrize(
    ("spec", "likeliest"),
    [
        ("", "2.0.0"),
        ("latest", "2.0.0"),
        ("next", "3.0.0-rc.1"),
        ("^1.0.0", "1.2.0"),
        (" >=1 ", "2.0.0"),
        ("1.0.0", "1.0.0"),
        ("^2.1.0", "2.1.0"),
        ("^9.0.0", None),
        ("no range at all", None),
    ],
)
def test_what_most_clients_take(spec, likeliest):
    """Of a likely range one version is chosen: latest if it may be, else the highest."""
    versions = dict.fromkeys(("1.0.0", "1.2.0", "2.0.0", "2.1.0", "3.0.0-rc.1"), b"{}")
    tags = {"latest": "2.0.0", "next": "3.0.0-rc.1"}
    chosen = choosing.choose(versions, tags, likely=[spec])
    assert taken(chosen) == ([likeliest] if likeliest else [])
    assert chosen.missing == (() if likeliest else (spec,))


def test_likely_versions_are_chosen_once():
    """Two likely ranges that take the same version choose it once."""
    versions = {"1.0.0": b"{}", "2.0.0": b"{}"}
    chosen = choosing.choose(versions, {"latest": "2.0.0"}, likely=["^2.0.0", "*", "^1.0.0"])
    assert taken(chosen) == ["2.0.0", "1.0.0"]
