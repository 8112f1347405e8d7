"""pnpm 10, 11 and 12 against a registry of one's own: what people do with their packages.

pnpm 10 has npm on the PATH do all but installing and packing.

| command | pnpm 10 (npm 10) | pnpm 11 | pnpm 12 |
|---|---|---|---|
| undeprecate | no such command | yes | yes |
| audit signatures | no such command | yes | yes |
| publish --batch | no such option | registries of its own only | the same |
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.clients.clients import Client, Pnpm
from tests.clients.house import NOT_HOSTED, TAKEN, UPSTREAM, House
from tests.clients.seats import Seat, each

pytestmark = [pytest.mark.timeout(400)]

ALL = each(Pnpm("10"), Pnpm("11"), Pnpm("12"))
NEWER = each(Pnpm("11"), Pnpm("12"))
# What the setup says: else pnpm 11 and newer pass over what is younger than a day.
EXEMPT = 'minimumReleaseAgeExclude:\n  - "@acme/*"\n  - "acme-*"\n'
PUBLISH = ("publish", "--no-git-checks")


def published(seat: Seat, name: str, *versions: str, **fields: Any) -> str:
    """Publish a package; its name."""
    for version in versions or ("1.0.0",):
        seat.done(*PUBLISH, at=seat.package(name, version, **fields))
    return name


@ALL
def test_publish(client: Client, ann: Seat, bob: Seat) -> None:
    """Two versions, a tag, scoped and not: a colleague installs them with what they depend on."""
    ui, lib = f"@acme/ui-{client.name}", f"acme-lib-{client.name}"
    published(ann, ui, "1.0.0", dependencies={UPSTREAM: "^1.0.0"}, description="Buttons")
    ann.done(*PUBLISH, "--tag", "next", at=ann.package(ui, "1.1.0"))
    published(ann, lib, "1.0.0", "1.0.1")
    app = bob.app("app", **{ui: "latest", lib: "^1.0.0"})
    (app / "pnpm-workspace.yaml").write_text(EXEMPT)

    bob.done("install", at=app)

    assert "1.0.0" in (app / "node_modules" / ui / "index.js").read_text()
    assert "1.0.1" in (app / "node_modules" / lib / "index.js").read_text()
    assert any((app / "node_modules" / ".pnpm").glob(f"{UPSTREAM}@1.0.0"))
    shown = json.loads(bob.done("view", ui, "version", "description", "dist-tags", "--json"))
    assert (shown["version"], shown["description"]) == ("1.0.0", "Buttons")
    assert shown["dist-tags"] == {"latest": "1.0.0", "next": "1.1.0"}
    assert bob.done("view", f"{ui}@next", "version").split()[-1] == "1.1.0"


@ALL
def test_the_same_version_twice(house: House, client: Client, ann: Seat) -> None:
    """Other bytes under a version that is there are refused, in the registry's words."""
    name = house.publish(f"@acme/twice-{client.name}")

    assert TAKEN in ann.refused(*PUBLISH, at=ann.package(name, description="other bytes"))


@ALL
def test_what_an_uplink_has(ann: Seat) -> None:
    """A name that comes from the uplink is not published here; pnpm prints why."""
    assert NOT_HOSTED in ann.refused(*PUBLISH, at=ann.package(UPSTREAM, "9.0.0"))


@ALL
def test_workspace(client: Client, ann: Seat, bob: Seat) -> None:
    """`pnpm -r publish` publishes what is new of a workspace, and nothing the second time."""
    root = workspace(ann, client.name)

    ann.done("install", at=root)
    ann.done("-r", *PUBLISH, at=root)
    again = ann.done("-r", *PUBLISH, at=root)

    two = f"@acme/two-{client.name}"
    assert "no new packages" in again
    dependencies = json.loads(bob.done("view", two, "dependencies", "--json"))
    assert dependencies == {f"@acme/one-{client.name}": "^1.0.0"}


def workspace(seat: Seat, name: str) -> Path:
    """Two packages, of which one depends on the other."""
    root = seat.project("workspace", {"name": "root", "version": "1.0.0", "private": True})
    (root / "pnpm-workspace.yaml").write_text("packages:\n  - packages/*\n")
    one: dict[str, Any] = {"name": f"@acme/one-{name}", "version": "1.0.0"}
    needs = {one["name"]: "workspace:^"}
    two = {"name": f"@acme/two-{name}", "version": "1.0.0", "dependencies": needs}
    for number, manifest in enumerate((one, two)):
        at = root / "packages" / str(number)
        at.mkdir(parents=True)
        (at / "package.json").write_text(json.dumps(manifest))
    return root


@ALL
def test_dist_tags(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A tag is added, listed and removed by an owner; others are told that they are none."""
    name = house.publish(f"@acme/tags-{client.name}")

    ann.done("dist-tag", "add", f"{name}@1.0.0", "stable")
    listed = ann.done("dist-tag", "ls", name)
    told = bob.refused("dist-tag", "add", f"{name}@1.0.0", "mine")
    ann.done("dist-tag", "rm", name, "stable")

    assert listed.split() == ["latest:", "1.0.0", "stable:", "1.0.0"]
    assert "bob is no owner of" in told
    assert "stable" not in ann.done("dist-tag", "ls", name)


@ALL
def test_deprecate(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A deprecation is seen by whoever installs."""
    name = house.publish(f"@acme/old-{client.name}", "1.0.0", "1.1.0")

    ann.done("deprecate", f"{name}@1.0.0", "use 1.1.0")

    assert "deprecated" in bob.done("install", at=bob.app("old", **{name: "1.0.0"}))
    assert "use 1.1.0" in bob.done("view", f"{name}@1.0.0", "deprecated")


@NEWER
def test_undeprecate(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A deprecation is taken back."""
    name = house.publish(f"@acme/new-{client.name}")

    ann.done("deprecate", name, "not good")
    ann.done("undeprecate", name)

    assert "not good" not in bob.done("view", name, "deprecated")


@ALL
def test_unpublish(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A version goes, then all; a version that was there is never published again."""
    name = house.publish(f"@acme/gone-{client.name}", "1.0.0", "1.1.0")

    ann.done("unpublish", f"{name}@1.1.0")
    left = json.loads(bob.done("view", name, "versions", "dist-tags", "--json"))
    again = ann.refused(*PUBLISH, at=ann.package(name, "1.1.0"))
    ann.done("unpublish", name, "--force")

    assert left == {"versions": ["1.0.0"], "dist-tags": {"latest": "1.0.0"}}
    assert TAKEN in again
    assert "404" in bob.refused("view", name)


@ALL
def test_search(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """What was published is found by a word of it; by nobody who may not read it."""
    word = f"rhubarb{client.name}"
    name = house.publish(f"@acme/{word}", keywords=[word])

    assert name in bob.done("search", word)
    assert name not in house.stranger(client).done("search", word)


@each(Pnpm("12"))
def test_private_names(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """Who may not read a package is told that there is none, on view and install alike."""
    secret = house.publish(f"@acme/secret-{client.name}")
    plain = house.publish(f"acme-plain-{client.name}")
    nobody = house.stranger(client)

    assert "404" in bob.refused("view", secret)
    assert "404" in bob.refused("install", at=bob.app("secret", **{secret: "*"}))
    for name in (secret, plain):
        assert "404" in nobody.refused("view", name)
        assert "404" in nobody.refused("install", at=nobody.app("app", **{name: "*"}))
    assert "1.0.0" in ann.done("view", secret, "version")


# test_signatures.py has pnpm 12.
@each(Pnpm("11"))
def test_audit_signatures(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """The keys that we name verify what was published here, and what comes from the uplink."""
    name = house.publish(f"@acme/signed-{client.name}")
    app = bob.app("signed", **{name: "1.0.0", UPSTREAM: "1.0.0"})
    (app / "pnpm-workspace.yaml").write_text(EXEMPT)
    bob.done("install", at=app)

    told = bob.done("audit", "signatures", at=app)

    assert re.search(r"\b2 packages have verified registry signatures", told)
