"""`packhouse prefetch`: what lockfiles name is here before anybody asks."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.app.prefetch import this_machine
from tests.clients import terminal
from tests.fakes import packing
from tests.fakes.uplink import FakeUplink
from tests.owned import Owned, owned
from tests.prefetches import bodies, locked, prefetch, written
from tests.process import ROOT, Process, command
from tests.registry import ABBREVIATED, FULL, Clock, Registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def last(output: str) -> str:
    return output.splitlines()[-1]


# --- what is brought ------------------------------------------------------------------------------


async def test_what_was_prefetched_is_served_offline(folder: Path, uplink: FakeUplink) -> None:
    """Both forms of the packument, and the tarball, come without a request when offline."""
    data = {name: uplink.publish(name, "1.0.0") for name in ("a", "@s/b")}
    result = await prefetch(folder, written(folder, locked(uplink)), uplink=uplink.url)
    assert (result.exit_code, last(result.output)[:9]) == (0, "2 fetched"), result.output
    uplink.requests.clear()

    registry = Registry(folder / "data", uplink.url)
    registry.set("server", offline=True)
    async with registry:
        for name, file in (("a", "a-1.0.0.tgz"), ("@s/b", "b-1.0.0.tgz")):
            for accept in (FULL, ABBREVIATED):
                answer = await registry.packument(name, accept=accept)
                assert list(answer.json()["versions"]) == ["1.0.0"]
            assert (await registry.get(f"/{name}/-/{file}")).body == data[name]
    assert uplink.count() == 0


async def test_a_second_run_asks_for_nothing(folder: Path, uplink: FakeUplink) -> None:
    """What is held is neither fetched nor revalidated for a lockfile."""
    uplink.publish("a", "1.0.0")
    file = written(folder, locked(uplink))
    await prefetch(folder, file, uplink=uplink.url)
    assert bodies(uplink) == {"/a": 1, "/a/-/a-1.0.0.tgz": 1}
    uplink.requests.clear()

    result = await prefetch(folder, file, uplink=uplink.url)

    assert (result.exit_code, uplink.count()) == (0, 0)
    assert last(result.output).startswith("1 here already")


async def test_beside_a_running_server(folder: Path, uplink: FakeUplink) -> None:
    """The server on the same folder serves what was brought, without asking for it."""
    uplink.publish("a", "1.0.0")
    async with Process(folder, uplink.url, workers=2) as process:
        result = await prefetch(folder, written(folder, locked(uplink)), uplink=uplink.url)
        replies = [await process.get("/a/-/a-1.0.0.tgz") for _ in range(4)]

    assert result.exit_code == 0
    assert {reply.headers["cache-status"].endswith("; hit") for reply in replies} == {True}
    assert bodies(uplink) == {"/a": 1, "/a/-/a-1.0.0.tgz": 1}


async def test_several_files_are_one_prefetch(folder: Path, uplink: FakeUplink) -> None:
    """Two lockfiles, a list and a version that stands in all of them: it is settled once."""
    uplink.publish("a", "1.0.0")
    uplink.publish("b", "1.0.0")
    one = written(folder, locked(uplink))
    yarn = f'# yarn lockfile v1\n\na@^1:\n  version "1.0.0"\n  resolved "{uplink.url}/a/-/a.tgz"\n'
    two = written(folder, yarn, "yarn.lock")
    three = written(folder, "b@1\n", "list")

    result = await prefetch(folder, one, two, three, uplink=uplink.url)

    assert result.exit_code == 0
    assert sum(bodies(uplink).values()) == 4


# --- what is wrong --------------------------------------------------------------------------------


async def test_other_bytes_than_the_lockfile_says(folder: Path, uplink: FakeUplink) -> None:
    """An integrity that differs is told with both values, before a byte is fetched."""
    data, wrong = uplink.publish("a", "1.0.0"), packing.sri(b"other")
    file = written(folder, locked(uplink, a={"integrity": wrong}))

    result = await prefetch(folder, file, uplink=uplink.url)

    assert result.exit_code == 1
    assert f"wrong integrity  a@1.0.0: the lockfile expected {wrong}" in result.output
    assert packing.sri(data) in result.output
    assert uplink.count("/a/-/") == 0


@pytest.mark.parametrize("is_right", [True, False])
async def test_a_hash_that_only_the_bytes_can_answer(
    folder: Path, uplink: FakeUplink, is_right: bool
) -> None:
    """An old lockfile's SHA-1 is compared with what has arrived, and again with what is held."""
    data = uplink.publish("a", "1.0.0")
    sha1 = packing.sri(data if is_right else b"other", "sha1")
    file = written(folder, locked(uplink, a={"integrity": sha1}))

    results = [await prefetch(folder, file, uplink=uplink.url) for _ in range(2)]

    assert [result.exit_code for result in results] == [0 if is_right else 1] * 2
    assert (f"the lockfile expected {sha1} got sha1-" in results[1].output) is not is_right


async def test_what_the_uplink_does_not_have(folder: Path, uplink: FakeUplink) -> None:
    """A package, a version and a tarball that are missing are named, and the rest is brought."""
    for name in ("a", "b", "c", "d"):
        uplink.publish(name, "1.0.0")
    lockfile = locked(uplink, b={"version": "9.9.9"})
    del uplink.packages["a"]
    del uplink.tarballs["/c/-/c-1.0.0.tgz"]

    result = await prefetch(folder, written(folder, lockfile), uplink=uplink.url)

    assert result.exit_code == 1
    assert "missing  a@1.0.0: no such package: a" in result.output
    assert "missing  b@9.9.9: npm knows b, but there is no such version" in result.output
    assert "missing  c@1.0.0: " in result.output
    assert last(result.output).startswith("1 fetched, 3 missing")


async def test_an_uplink_that_is_away(folder: Path, uplink: FakeUplink) -> None:
    """Every package fails with the reason; when the uplink is back, the same command completes."""
    uplink.publish("a", "1.0.0")
    file = written(folder, locked(uplink))
    await uplink.stop()
    away = await prefetch(folder, file, uplink=uplink.url)
    await uplink.start()

    back = await prefetch(folder, file, uplink=uplink.url)

    assert (away.exit_code, back.exit_code) == (1, 0)
    assert "failed  a@1.0.0: uplink npm: " in away.output


async def test_a_full_disk_ends_it(folder: Path, uplink: FakeUplink) -> None:
    """Below the floor of free space it stops with one sentence, and no tarball is asked for."""
    for number in range(40):
        uplink.publish(f"p{number}", "1.0.0")
    file = written(folder, locked(uplink))

    result = await prefetch(folder, file, uplink=uplink.url, CACHE_MIN_FREE="900TB")

    assert result.exit_code == 1
    assert result.output.startswith("Error: storage: the disk has less free than cache.min_free")
    assert not [path for path in bodies(uplink) if path.endswith(".tgz")]


async def test_a_file_that_is_no_lockfile(folder: Path, uplink: FakeUplink) -> None:
    """The sentence names the file and the place, nothing is asked, and no folder is made."""
    file = written(folder, '{"lockfileVersion":3,"packages":{"node_modules/a":1}}')

    result = await prefetch(folder, file, uplink=uplink.url)

    assert result.exit_code == 1
    assert f'{file}: packages["node_modules/a"]: it should be an object' in result.output
    assert uplink.count() == 0
    assert not (folder / "data").exists()


# --- ranges ---------------------------------------------------------------------------------------


async def test_a_tree_of_ranges_is_brought(folder: Path, uplink: FakeUplink) -> None:
    """A package.json brings what it depends on and what that needs: aliases, peers, circles."""
    uplink.publish("top", "1.0.0", dependencies={"alias": "npm:real@^1", "loop": "*"})
    uplink.publish("real", "1.0.0")
    uplink.publish("real", "1.4.0", peerDependencies={"peer": ">=2"})
    uplink.publish("real", "2.0.0")
    uplink.publish("peer", "2.0.0", optionalDependencies={"absent": "1"})
    uplink.publish("loop", "1.0.0", dependencies={"top": "^1", "vcs": "user/repo"})
    file = written(folder, json.dumps({"dependencies": {"top": "^1.0.0"}}), "package.json")

    result = await prefetch(folder, file, uplink=uplink.url)

    assert result.exit_code == 0, result.output
    fetched = {path for path in bodies(uplink) if path.endswith(".tgz")}
    assert fetched == {
        "/top/-/top-1.0.0.tgz", "/real/-/real-1.4.0.tgz", "/peer/-/peer-2.0.0.tgz",
        "/loop/-/loop-1.0.0.tgz",
    }  # fmt: skip
    assert "left out  absent@1: no such package: absent" in result.output
    assert "left out  vcs@user/repo: it comes from git (loop@1.0.0 needs it)" in result.output


async def test_every_version_a_client_may_take(folder: Path, uplink: FakeUplink) -> None:
    """`latest` and the highest may differ: npm takes one, Yarn the other, and both are brought."""
    for version, tag in (("1.0.0", "latest"), ("1.5.0", "next"), ("2.0.0-rc.1", "beta")):
        uplink.publish("a", version, tag=tag)
    file = written(folder, "a@^1\na@beta\n", "list")

    result = await prefetch(folder, file, uplink=uplink.url)

    assert result.exit_code == 0
    assert {path for path in bodies(uplink) if path.endswith(".tgz")} == {
        "/a/-/a-1.0.0.tgz", "/a/-/a-1.5.0.tgz", "/a/-/a-2.0.0-rc.1.tgz",
    }  # fmt: skip


async def test_a_range_that_nothing_satisfies(folder: Path, uplink: FakeUplink) -> None:
    """It is told, with status 1, however much else the package has."""
    uplink.publish("a", "1.0.0")

    result = await prefetch(folder, written(folder, "a@^2\n", "list"), uplink=uplink.url)

    assert result.exit_code == 1
    assert "missing  a@^2: npm knows a, but there is no such version" in result.output


# --- platforms ------------------------------------------------------------------------------------

OURS = this_machine()
OTHER = "musl" if OURS.libc == "glibc" else "glibc"
NATIVE: dict[str, dict[str, Any]] = {
    "n-ours": {"os": ["linux"], "cpu": [OURS.cpu], "libc": [OURS.libc]},
    "n-other": {"os": ["linux"], "cpu": [OURS.cpu], "libc": [OTHER]},
    "n-mac": {"os": ["darwin"], "cpu": ["arm64"]},
}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"n-ours"}),
        (("--platform", "darwin/arm64"), {"n-ours", "n-mac"}),
        (("--platform", "darwin/arm64", "--platform", f"linux/{OURS.cpu}/{OTHER}"), set(NATIVE)),
        (("--platform", "all"), set(NATIVE)),
    ],
)
@pytest.mark.parametrize("is_in_lockfile", [True, False])
async def test_optional_packages_of_platforms(
    folder: Path,
    uplink: FakeUplink,
    options: tuple[str, ...],
    expected: set[str],
    is_in_lockfile: bool,
) -> None:
    """This machine's and those that are named come, whether lockfile or manifest tells of them."""
    for name, facts in NATIVE.items():
        uplink.publish(name, "1.0.0", **facts)
    said = {name: facts if is_in_lockfile else {} for name, facts in NATIVE.items()}
    changes = {name: {"optional": True, **facts} for name, facts in said.items()}
    file = written(folder, locked(uplink, **changes))

    result = await prefetch(folder, file, *options, uplink=uplink.url)

    assert result.exit_code == 0
    assert {name for name in NATIVE if uplink.count(f"/{name}/-/")} == expected


async def test_what_is_only_named_can_be_looked_at(folder: Path, uplink: FakeUplink) -> None:
    """Packuments come of packages for other platforms and of optional peers, and no tarballs.

    npm asks for them without a lockfile, and tries for more than a minute where all it gets is 503.
    """
    peers, optional = {"spare": "*", "absent": "*"}, {"native": "1.0.0", "dropped": "1"}
    meta = {name: {"optional": True} for name in peers}
    uplink.publish(
        "a",
        "1.0.0",
        peerDependencies=peers,
        peerDependenciesMeta=meta,
        optionalDependencies=optional,
    )
    uplink.publish("native", "1.0.0", os=["sunos"])
    lockfile = locked(uplink, native={"optional": True, "os": ["sunos"]})
    uplink.publish("spare", "1.0.0")
    uplink.publish("dropped", "1.0.0")

    result = await prefetch(folder, written(folder, lockfile), uplink=uplink.url)

    assert last(result.output).startswith("1 fetched, 1 for another platform")
    paths = {"/a", "/a/-/a-1.0.0.tgz", "/native", "/spare", "/dropped", "/absent"}
    assert bodies(uplink).keys() == paths


async def test_a_needed_package_comes_whatever_it_is_for(folder: Path, uplink: FakeUplink) -> None:
    """Only what is optional is passed over: an install without the others fails."""
    uplink.publish("a", "1.0.0", os=["sunos"])

    result = await prefetch(folder, written(folder, locked(uplink)), uplink=uplink.url)

    assert result.exit_code == 0
    assert uplink.count("/a/-/") == 1


async def test_a_platform_that_is_none(folder: Path, uplink: FakeUplink) -> None:
    """The sentence shows what one looks like."""
    file = written(folder, locked(uplink))

    result = await prefetch(folder, file, "--platform", "linux", uplink=uplink.url)

    assert result.exit_code == 1
    assert "'linux' is not a platform, as in linux/x64/glibc" in result.output


# --- what lives here ------------------------------------------------------------------------------


@pytest.fixture
async def house(folder: Path, uplink: FakeUplink, clock: Clock) -> Any:
    async with owned(folder / "data", uplink, clock) as running:
        yield running


def rules(folder: Path, uplink: FakeUplink) -> Path:
    text = f"""
[uplinks.npm]
url = "{uplink.url}"
[[rules]]
match = ["lodash", "@fork/*"]
from = "npm"
merge = true
[[rules]]
match = ["@acme/*", "acme-*"]
from = "hosted"
[[rules]]
match = ["*"]
from = "npm"
"""
    return written(folder, text, "packhouse.toml")


async def test_no_uplink_hears_of_a_private_name(
    house: Owned, folder: Path, uplink: FakeUplink
) -> None:
    """Names that live here are told as such, there or missing, and never asked for elsewhere."""
    uplink.publish("b", "1.0.0")
    await house.publish("@acme/ui", dependencies={"b": "^1", "@acme/absent": "*"})
    entries = {
        "node_modules/@acme/ui": {"version": "1.0.0"},
        "node_modules/@acme/secret": {"version": "1.0.0"},
    }
    lock = written(folder, json.dumps({"lockfileVersion": 3, "packages": entries}))
    listed = written(folder, "@acme/ui\n@acme/ui@^9\nacme-canary@1\n", "list")

    result = await prefetch(folder, lock, listed, "--config", rules(folder, uplink))

    assert result.exit_code == 1
    assert "lives here  @acme/ui@1.0.0" in result.output
    assert "missing  @acme/secret@1.0.0: no such package: @acme/secret" in result.output
    assert "missing  acme-canary@1: no such package" in result.output
    assert "missing  @acme/absent@*: " in result.output
    assert (
        "missing  @acme/ui@^9: @acme/ui lives here, and there is no such version" in result.output
    )
    assert set(bodies(uplink)) == {"/b", "/b/-/b-1.0.0.tgz"}


async def test_what_lives_at_both_places(house: Owned, folder: Path, uplink: FakeUplink) -> None:
    """Of a fork what is published here is here, and the rest comes from the uplink."""
    uplink.publish("lodash", "4.0.0")
    await house.publish("lodash", "4.0.0-acme.1", tag="acme")
    file = written(folder, "lodash@4.0.0\nlodash@acme\n", "list")

    result = await prefetch(folder, file, "--config", rules(folder, uplink))

    assert result.exit_code == 0, result.output
    assert "lives here  lodash@4.0.0-acme.1" in result.output
    assert uplink.count("/lodash/-/") == 1


# --- what people see ------------------------------------------------------------------------------


async def test_a_bar_on_a_terminal(folder: Path, uplink: FakeUplink) -> None:
    """On a terminal there is a bar and no line for what went well; what is missing has its line."""
    for number in range(3):
        uplink.publish(f"p{number}", "1.0.0")
    lockfile = locked(uplink, p2={"version": "9.9.9"})
    argv = [sys.executable, "-m", "proxy", "prefetch", str(written(folder, lockfile))]
    argv += ["--data", str(folder / "data"), "--uplink", uplink.url]
    env = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    env |= {"PACKHOUSE_CACHE_MIN_FREE": "0B", "COLUMNS": "120"}

    status, output = await asyncio.to_thread(terminal.converse, argv, folder, env, {}, 60)

    assert status == 1
    assert "3/3" in output
    assert "missing  p2@9.9.9: npm knows p2, but there is no such version" in output
    assert "fetched  p0" not in output
    assert "2 fetched, 1 missing" in output


async def test_what_was_missing_is_a_list_to_bring(folder: Path, uplink: FakeUplink) -> None:
    """What `packhouse missing` prints is what this takes."""
    uplink.publish("a", "1.0.0")
    uplink.publish("b", "1.0.0")
    registry = Registry(folder / "data", uplink.url)
    registry.set("server", offline=True)
    async with registry:
        assert (await registry.get("/a/-/a-1.0.0.tgz")).status == 503
        assert (await registry.packument("b")).status == 503
    status, listed = await command("missing", "--data", str(folder / "data"), folder=folder)
    assert status == 0, listed

    result = await prefetch(folder, written(folder, listed, "missing.txt"), uplink=uplink.url)

    assert last(result.output).startswith("2 fetched"), (listed, result.output)
