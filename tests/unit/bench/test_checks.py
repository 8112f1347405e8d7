"""When an answer of a peer counts as right."""

from __future__ import annotations

import gzip
import json

from tests.bench import checks
from tests.bench.corpus import UPLINK

DIST = {"tarball": f"{UPLINK}/a/-/a-1.0.0.tgz", "integrity": "sha512-x", "shasum": "y"}
PACKUMENT = {
    "name": "a",
    "dist-tags": {"latest": "1.0.0"},
    "versions": {"1.0.0": {"name": "a", "dist": DIST, "scripts": {"test": "true"}}},
}


def test_links_are_expected_to_lead_to_who_was_asked() -> None:
    """Nothing else of a recorded packument changes."""
    text = checks.expected(gzip.compress(json.dumps(PACKUMENT).encode()))

    assert UPLINK.encode() not in text
    assert text.decode().replace("http://registry.bench", UPLINK) == json.dumps(PACKUMENT)


def test_the_essence_is_what_an_install_depends_on() -> None:
    """Fields that a registry adds or leaves out are none of it; a digest is."""
    more = PACKUMENT | {"readme": "x", "versions": {"1.0.0": {"dist": DIST | {"size": 1}}}}
    other = PACKUMENT | {"versions": {"1.0.0": {"dist": DIST | {"integrity": "sha512-z"}}}}

    assert checks.essence(more) == checks.essence(PACKUMENT)
    assert checks.essence(other) != checks.essence(PACKUMENT)
