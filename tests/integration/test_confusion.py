"""Dependency confusion: of a name that lives here no uplink hears (threat 7, item 83).

The uplink offers every one of our names in a higher version, and writes down what it is asked.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from proxy.npm.policy import Rule, Rules
from proxy.storage.hosting import Access, Deed
from proxy.web import keys, routes
from tests.fakes.exchange import Seen
from tests.fakes.uplink import FakeUplink
from tests.owned import OURS, REST, Owned, owned
from tests.publishing import a_publish, address
from tests.registry import ABBREVIATED, FULL, Clock

X, SECRET, GHOST, BURIED, TOOL = "@acme/x", "acme-secret", "@acme/ghost", "@acme/buried", "old-tool"
NAMES = (X, SECRET, GHOST, BURIED, TOOL)
"""Published, the same and restricted, only claimed, unpublished, claimed by a rule of before."""
TRACES = ("acme", "old-tool", "ghost", "buried")
WORDS = {
    "{revision}": "1-a", "{tag}": "latest", "{user}": "ann", "{kind}": "point",
    "{period}": "last-week", "{org}": "acme", "{team}": "core", "{id}": "x", "{token}": "x",
    "{key}": "x",
}  # fmt: skip


@pytest.fixture
async def home(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Owned]:
    """A registry that holds NAMES in version 1.0.0; the uplink has 1.0.0 and 99.0.0 of all."""
    for name in NAMES:
        for version in ("1.0.0", "99.0.0"):
            uplink.publish(name, version, files={"who.txt": b"theirs"})
        uplink.attestations[f"{name}@99.0.0"] = [{"predicateType": "theirs"}]
        uplink.advisories[name] = [{"id": 1, "title": "theirs"}]
    uplink.publish("lodash", "1.0.0")
    rules = [OURS, Rule((TOOL,), OURS.origin), REST]
    async with owned(tmp_path / "data", uplink, clock, rules) as running:
        for name in (X, BURIED, TOOL):
            await running.publish(name)
        await running.publish(SECRET, access=Access.RESTRICTED)
        await running.hosted.remove_package(BURIED, Deed("ann", clock.now()))
        assert running.registry.app is not None
        await running.get("/-/v1/search?text=zzz", "ann")
        running.registry.app[keys.ROUTING].replace(Rules((OURS, REST)))
        uplink.requests.clear()
        yield running


def spellings(name: str) -> Iterator[str]:
    yield name
    if "/" in name:
        yield name.replace("/", "%2f")
        yield name.replace("@", "%40").replace("/", "%2F")


def addresses(path: str) -> Iterator[tuple[str, str]]:
    """Every address of a row of the API that names one of NAMES, with that name."""
    for word, value in WORDS.items():
        path = path.replace(word, value)
    for name in NAMES:
        bare = name.rpartition("/")[2]
        for version in ("1.0.0", "99.0.0"):
            filled = path.replace("{file}", f"{bare}-{version}.tgz").replace("{version}", version)
            for spelled in spellings(name):
                at = f"@{version}" if "/attestations/" in path else ""
                yield filled.replace("{package}", spelled + at), name


def betrayed(requests: list[Seen]) -> list[str]:
    """What an uplink was told of our names, anywhere in what it was sent."""
    found = []
    for request in requests:
        body = gzip.decompress(request.body) if request.body[:2] == b"\x1f\x8b" else request.body
        text = " ".join([unquote(request.target), str(request.headers), body.decode()])
        if any(trace in text.lower() for trace in TRACES):
            found.append(f"{request.method} {request.target} {body[:200]!r}")
    return found


@pytest.mark.parametrize("user", ["eve", None])
async def test_83_no_route_tells_an_uplink(home: Owned, user: str | None) -> None:
    """Every route of the API, in every spelling of a name of ours, asks no uplink for it."""
    asked = 0
    token = {} if user is None else {"authorization": f"Bearer {home.tokens[user]}"}
    for row in routes.TABLE:
        if "{package}" not in row.path:
            continue
        methods = ["GET", "HEAD"] if row.method == "GET" else [row.method]
        for path, _ in addresses(row.path):
            for method in methods:
                body = None if row.method == "GET" else b'{"name":"x"}'
                await home.registry.ask(method, path, token, body)
                asked += 1

    assert asked > 200
    assert betrayed(home.uplink.requests) == []
    assert home.uplink.count() == 0


@pytest.mark.parametrize("accept", [FULL, ABBREVIATED])
async def test_83_what_the_uplink_offers_changes_nothing(home: Owned, accept: str) -> None:
    """Our packages have the versions that were published here, and what is not here is a 404."""
    documents = {name: await home.get(f"/{name}", "ann", accept=accept) for name in NAMES}
    higher = [await home.get(f"/{name}/99.0.0", "ann") for name in NAMES]
    tarballs = [
        await home.get(f"/{name}/-/{name.rpartition('/')[2]}-99.0.0.tgz", "ann") for name in NAMES
    ]

    assert {name: found.status for name, found in documents.items()} == {
        X: 200, SECRET: 200, GHOST: 404, BURIED: 404, TOOL: 200,
    }  # fmt: skip
    for name in (X, SECRET, TOOL):
        assert list(documents[name].json()["versions"]) == ["1.0.0"]
    assert {found.status for found in (*higher, *tarballs)} == {404}
    assert home.uplink.count() == 0


async def test_83_services_name_nobody(home: Owned) -> None:
    """Audits, search and download counts that name our packages among others tell of the others."""
    tree = {
        "name": X,
        "requires": {X: "1", "lodash": "1", "alias": f"npm:{SECRET}@1"},
        "dependencies": {
            X: {"version": "1.0.0", "dependencies": {TOOL: {"version": "1.0.0"}}},
            "lodash": {"version": "1.0.0", "requires": {BURIED: "1"}},
        },
    }
    bulk = json.dumps({name: ["1.0.0"] for name in (*NAMES, "lodash")}).encode()
    base = "/-/npm/v1/security"
    answers = [
        await home.registry.ask("POST", f"{base}/advisories/bulk", data=bulk),
        await home.registry.ask("POST", f"{base}/advisories/bulk", data=gzip.compress(bulk)),
        await home.registry.ask("POST", f"{base}/audits/quick", data=json.dumps(tree).encode()),
        await home.registry.ask("POST", f"{base}/audits", data=json.dumps(tree).encode()),
    ]
    for name in NAMES:
        scope = name.partition("/")[0]
        texts = [
            name, name.upper(), f"lodash {name}", f'"{name}"', f"({name})", f"keywords:a+{name}",
            f"scope:{scope}", f"-{name}", f"author:{name},b", f"lodash,{name}",
        ]  # fmt: skip
        for text in texts:
            await home.get(f"/-/v1/search?text={quote(text)}", "ann")
        await home.get(f"/downloads/point/last-week/lodash,{name}", "ann")

    assert {answer.status for answer in answers} == {200}
    assert home.uplink.count(f"{base}/") == 4
    assert betrayed(home.uplink.requests) == []


async def test_83_results_of_an_uplink_under_our_names(home: Owned) -> None:
    """Where an uplink's search answers with our names, theirs are left out."""
    shown = []
    for text in ("x", "tool", "o", "secret", "ghost"):
        found = (await home.get(f"/-/v1/search?text={text}", "ann")).json()
        shown += [
            (each["package"]["name"], each["package"]["version"]) for each in found["objects"]
        ]
        assert found["total"] == len(found["objects"])

    assert {version for name, version in shown if name in NAMES} == {"1.0.0"}
    assert {name for name, _ in shown} & {GHOST, BURIED} == set()


async def test_83_a_publish_asks_nobody(home: Owned) -> None:
    """A publish, also a refused one, is a matter between its client and us."""
    sent = {"authorization": f"Bearer {home.tokens['ann']}", "content-type": "application/json"}
    statuses = [
        (await home.registry.ask("PUT", address(name), sent, a_publish(version, name).body)).status
        for name, version in ((GHOST, "1.0.0"), (X, "1.0.0"), (X, "2.0.0"), (TOOL, "1.0.1"))
    ]

    assert statuses[0] == statuses[2] == statuses[3] == 201
    assert statuses[1] in {403, 409}
    assert home.uplink.count() == 0


async def test_83_after_a_restart(home: Owned) -> None:
    """What was once published here stays here when the server starts anew with other rules."""
    home.registry.config = replace(home.registry.config, rules=Rules((REST,)))
    await home.registry.restart()

    found = {name: (await home.get(f"/{name}", "ann", accept=FULL)).status for name in NAMES}

    assert found == {X: 200, SECRET: 200, GHOST: 200, BURIED: 404, TOOL: 200}
    assert [each.decoded_path for each in home.uplink.requests] == [f"/{GHOST}"]
