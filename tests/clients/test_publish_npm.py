"""npm 10, 11 and 12 against a registry of one's own: what people do with their packages.

| command | npm 10 | npm 11 | npm 12 |
|---|---|---|---|
| undeprecate | deprecate with an empty text | yes | yes |
| the rest of this file | yes | yes | yes |

`npm audit signatures` needs Sigstore's root of trust, which is on the internet: trust.cjs answers
in its place; all else is npm's own. Provenance is in test_provenance.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.clients import TRUST, Client, Npm
from tests.clients.house import NOT_HOSTED, TAKEN, UPSTREAM, House
from tests.clients.seats import Seat, each

pytestmark = [pytest.mark.timeout(400)]

ALL = each(Npm("10"), Npm("11"), Npm("12"))


def published(seat: Seat, name: str, *versions: str, **fields: Any) -> str:
    """Publish a package; its name."""
    for version in versions or ("1.0.0",):
        seat.done("publish", at=seat.package(name, version, **fields))
    return name


# --- publishing -----------------------------------------------------------------------------------


@ALL
def test_publish(client: Client, ann: Seat, bob: Seat) -> None:
    """Two versions, a tag, scoped and not: a colleague installs them with what they depend on."""
    ui, lib = f"@acme/ui-{client.name}", f"acme-lib-{client.name}"
    published(ann, ui, "1.0.0", dependencies={UPSTREAM: "^1.0.0"}, description="Buttons")
    ann.done("publish", "--tag", "next", at=ann.package(ui, "1.1.0"))
    published(ann, lib, "1.0.0", "1.0.1")
    app = bob.app("app", **{ui: "latest", lib: "^1.0.0"})

    bob.done("install", at=app)

    assert "1.0.0" in (app / "node_modules" / ui / "index.js").read_text()
    assert "1.0.1" in (app / "node_modules" / lib / "index.js").read_text()
    assert (app / "node_modules" / UPSTREAM / "index.js").exists()
    shown = json.loads(bob.done("view", ui, "--json"))
    shown = shown[0] if isinstance(shown, list) else shown
    assert (shown["version"], shown["description"]) == ("1.0.0", "Buttons")
    assert shown["dist-tags"] == {"latest": "1.0.0", "next": "1.1.0"}
    assert bob.done("view", f"{ui}@next", "version").split()[-1] == "1.1.0"


@ALL
def test_the_same_version_twice(house: House, client: Client, ann: Seat) -> None:
    """Other bytes under a version that is there are refused, in the registry's words."""
    name = house.publish(f"@acme/twice-{client.name}")
    other = ann.package(name, description="other bytes")

    # npm 11 and newer look first, and say so by themselves, unless they are forced.
    assert TAKEN in ann.refused("publish", at=other)
    assert TAKEN in ann.refused("publish", "--force", at=other)


@ALL
def test_what_an_uplink_has(ann: Seat) -> None:
    """A name that comes from the uplink is not published here; npm prints why, and what to do."""
    told = ann.refused("publish", at=ann.package(UPSTREAM, "9.0.0"))

    assert NOT_HOSTED in told
    assert 'from = "hosted"' in told


@ALL
def test_workspaces(client: Client, ann: Seat, bob: Seat) -> None:
    """`npm publish --workspaces` publishes each package of a project, whose root stays private."""
    root = ann.project(
        "root", {"name": "root", "version": "1.0.0", "private": True, "workspaces": ["packages/*"]}
    )
    one, two = f"@acme/one-{client.name}", f"@acme/two-{client.name}"
    ann.project("root/packages/one", {"name": one, "version": "1.0.0"})
    ann.project("root/packages/two", {"name": two, "version": "1.0.0", "dependencies": {one: "1"}})
    app = bob.app("workspaces", **{two: "1.0.0"})

    ann.done("publish", "--workspaces", at=root)
    bob.done("install", at=app)

    assert (app / "node_modules" / one / "package.json").exists()


@ALL
def test_dist_tags(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A tag is added, listed and removed by an owner; others are told that they are none."""
    name = house.publish(f"@acme/tags-{client.name}")

    ann.done("dist-tag", "add", f"{name}@1.0.0", "stable")
    listed = ann.done("dist-tag", "ls", name)
    told = bob.refused("dist-tag", "add", f"{name}@1.0.0", "mine")
    ann.done("dist-tag", "rm", name, "stable")

    assert listed.split("\n")[-3:-1] == ["latest: 1.0.0", "stable: 1.0.0"]
    assert f"bob is no owner of {name}" in told
    assert "stable" not in ann.done("dist-tag", "ls", name)
    assert "can be moved, not removed" in ann.refused("dist-tag", "rm", name, "latest")


@ALL
def test_deprecate(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A deprecation is seen by whoever installs, until it is taken back."""
    name = house.publish(f"@acme/old-{client.name}", "1.0.0", "1.1.0")

    ann.done("deprecate", f"{name}@1.0.0", "use 1.1.0")
    warned = bob.done("install", at=bob.app("old", **{name: "1.0.0"}))
    ann.done("deprecate", f"{name}@1.0.0", "")

    assert "use 1.1.0" in warned
    assert "use 1.1.0" not in bob.done("view", f"{name}@1.0.0", "deprecated")


@ALL
def test_unpublish(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A version goes, then all; a version that was there is never published again."""
    name = house.publish(f"@acme/gone-{client.name}", "1.0.0", "1.1.0")

    ann.done("unpublish", f"{name}@1.1.0")
    left = json.loads(bob.done("view", name, "versions", "dist-tags", "--json"))
    left = left[0] if isinstance(left, list) else left
    again = ann.refused("publish", at=ann.package(name, "1.1.0"))
    ann.done("unpublish", name, "--force")

    assert left == {"versions": ["1.0.0"], "dist-tags": {"latest": "1.0.0"}}
    assert TAKEN in again
    assert "E404" in bob.refused("view", name)
    assert TAKEN in ann.refused("publish", at=ann.package(name, "1.0.0"))


@ALL
def test_search(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """What was published is found by a word of it; by nobody who may not read it."""
    word = f"rhubarb{client.name}"
    name = house.publish(f"@acme/{word}", keywords=[word])

    assert name in bob.done("search", word)
    assert name not in house.stranger(client).done("search", word)


# --- who may read ---------------------------------------------------------------------------------


@each(Npm("12"))
def test_private_names(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """Who may not read a package is told that there is none, on view and install alike."""
    secret = house.publish(f"@acme/secret-{client.name}")
    plain = house.publish(f"acme-plain-{client.name}")
    nobody = house.stranger(client)

    assert "E404" in bob.refused("view", secret)
    assert "E404" in bob.refused("install", at=bob.app("secret", **{secret: "*"}))
    for name in (secret, plain):
        assert "E404" in nobody.refused("view", name)
        assert "E404" in nobody.refused("install", at=nobody.app("app", **{name: "*"}))
    assert "E404" in bob.refused("publish", at=bob.package(secret, "2.0.0"))
    assert "1.0.0" in ann.done("view", secret, "version")


# --- forks ----------------------------------------------------------------------------------------


@ALL
def test_a_fork_keeps_the_uplink_s_tags(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """What is changed of a fork changes ours: the uplink's dist-tags stay and move as it says."""
    name = f"fork-{client.name}"
    for version, tag in (("1.0.0", "lts"), ("2.0.0", "latest")):
        house.uplink.publish(name, version, tag=tag)
    tags = {"latest": "2.0.0", "lts": "1.0.0"}
    # npm 11 and newer send no version of a number that they see already.
    house.publish(name, "1.0.0", tag="patched")
    assert tags_of(bob, name) == {**tags, "patched": "1.0.0"}

    ann.done("deprecate", f"{name}@1.0.0", "take the next one")
    ann.done("owner", "add", "bob", name)
    assert tags_of(bob, name) == {**tags, "patched": "1.0.0"}
    house.uplink.packages[name]["dist-tags"]["lts"] = "2.0.0"
    house.packhouse("cache", "purge", name)
    assert tags_of(bob, name) == {"latest": "2.0.0", "lts": "2.0.0", "patched": "1.0.0"}
    ann.done("unpublish", "--force", f"{name}@1.0.0")

    assert tags_of(bob, name) == {"latest": "2.0.0", "lts": "2.0.0"}
    package = house.ask("GET", f"/{name}")[1]
    assert list(package["versions"]) == ["1.0.0", "2.0.0"]
    assert "deprecated" not in package["versions"]["1.0.0"]


def tags_of(seat: Seat, name: str) -> dict[str, str]:
    """The dist-tags as a client is told them."""
    lines = seat.done("dist-tag", "ls", name).splitlines()
    return dict(line.split(": ") for line in lines if ": " in line)


# --- signatures -----------------------------------------------------------------------------------


# test_signatures.py has npm 11.
@each(Npm("10"), Npm("12"))
def test_audit_signatures(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """The keys that we name verify what was published here, and what comes from the uplink."""
    name = house.publish(f"@acme/signed-{client.name}")
    app = bob.app("signed", **{name: "1.0.0", UPSTREAM: "1.0.0"})
    bob.done("install", at=app)

    told = bob.done("audit", "signatures", at=app, env=TRUST)

    assert "2 packages have verified registry signatures" in told


# --- after all of it ------------------------------------------------------------------------------


def test_the_uplink_is_heard_of(house: House) -> None:
    """What the fixture `house` looks for, a name that the uplink was asked for, would be seen."""
    house.ask("GET", f"/{UPSTREAM}")

    assert house.heard(UPSTREAM) != []
