"""What is no publish, and what is too much of one: told in words, and nothing of it is kept."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from proxy.registry.hosting.intake import Pace
from proxy.registry.hosting.publishing import Publishing
from proxy.web import keys
from tests.fakes import packing, rawhttp
from tests.fakes.uplink import FakeUplink
from tests.publishing import UI, Document, Home, Publish, a_publish, address, attached, home
from tests.registry import Clock

MIB = 1024 * 1024


@pytest.fixture
async def acme(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[Home]:
    """A registry where tarballs of 1 MiB may be published."""
    async with home(tmp_path / "data", uplink, clock, max_publish_size_bytes=MIB) as found:
        yield found


def big(size_bytes: int, name: str = UI) -> Publish:
    """A publish whose tarball has about this size."""
    return a_publish(name=name, files={"data": os.urandom(size_bytes)})


def bound(acme: Home, **changes: Any) -> Publishing:
    """Change what a publish may take."""
    assert acme.registry.app is not None
    story = cast("Publishing", acme.registry.app[keys.PUBLISHING])
    story._bounds = replace(story._bounds, **changes)
    return story


# --- who --------------------------------------------------------------------------------------


async def test_nobody_publishes_unknown(acme: Home) -> None:
    """Who is not logged in is told to log in, before their body is read."""
    told = await acme.put(a_publish(), user=None)

    assert (told.status, told.json()["success"]) == (401, False)
    assert "npm login" in told.json()["error"]


async def test_who_may_not_is_told_before_the_tarball_comes(acme: Home) -> None:
    """A refusal does not wait for the body: it comes while the client still has all to send."""
    heads = {
        path: rawhttp.get(
            path,
            f"Authorization: {acme.authorization(user).get('authorization', 'none')}",
            "Content-Type: application/json",
            "Content-Length: 1000000",
            method="PUT",
        )
        for path, user in ((address(UI), None), ("/lodash", "ann"))
    }
    port = int(acme.registry.url.rpartition(":")[2])

    told = [await rawhttp.send(port, head) for head in heads.values()]

    assert [reply and reply.status for reply in told] == [401, 403]


async def test_a_refused_tarball_of_many_megabytes(acme: Home) -> None:
    """Who sends 20 MB that are refused gets the reason, not a connection that is cut."""
    body = big(20_000_000, "lodash").body

    told = await acme.put(body, "lodash")

    assert (told.status, told.json()["code"]) == (403, "E_NOT_HOSTED")


async def test_a_star_by_who_may_not_publish(acme: Home) -> None:
    """Who may not publish is heard as long as no tarball comes: everybody may star."""
    await acme.put(a_publish())
    rev = (await acme.packument())["_rev"]

    told = await acme.put({"_id": UI, "_rev": rev, "users": {"bob": True}}, user="bob")

    assert told.status == 201
    assert (await acme.packument())["users"] == {"bob": True}


# --- how much ---------------------------------------------------------------------------------


@pytest.mark.parametrize("has_length", [True, False])
async def test_70_a_tarball_over_the_limit(acme: Home, has_length: bool) -> None:
    """A tarball larger than the limit is 413, in words that name the setting."""
    body = big(40 * MIB if has_length else MIB + 100_000).body

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 65536):
            yield body[at : at + 65536]

    url, headers = acme.registry.url + address(UI), acme.authorization("ann")
    data = io.BytesIO(body) if has_length else pieces()
    async with acme.registry.session.put(url, data=data, headers=headers) as reply:
        said = await reply.json()

    assert (reply.status, said["code"]) == (413, "E_TOO_LARGE")
    assert "server.max_publish_size" in said["error"]
    assert acme.stored() == []


async def test_metadata_over_the_limit(acme: Home) -> None:
    """Metadata of more than 16 MiB is 413."""
    publish = a_publish()
    publish.document["readme"] = "x" * (17 * MIB)

    told = await acme.put(publish)

    assert told.status == 413
    assert "metadata" in told.json()["error"]


async def test_a_disk_without_room(acme: Home) -> None:
    """With less free than the floor nothing is taken; what is published is still served."""
    first = a_publish("1.0.0")
    await acme.put(first)
    bound(acme, min_free_bytes=1 << 60)

    told = await acme.put(a_publish("1.1.0"))

    assert (told.status, told.json()["code"]) == (507, "E_STORAGE_FULL")
    assert (await acme.get(f"/{UI}/-/ui-1.0.0.tgz")).body == first.tarball


async def test_too_many_at_once(acme: Home) -> None:
    """Who finds all places taken waits a little, then is told to come back; later it works."""
    story = bound(acme, at_once=1, wait=timedelta(seconds=0.2))
    story._slots = asyncio.Semaphore(1)
    async with _stalled(acme, a_publish("1.0.0").body):
        told = await acme.put(a_publish("1.1.0"))

    assert (told.status, told.json()["code"]) == (503, "E_BUSY")
    assert int(told.headers["retry-after"]) > 0
    bound(acme, wait=timedelta(seconds=10))
    assert (await acme.put(a_publish("1.1.0"))).status == 201


@pytest.mark.parametrize("every", [None, 0.02])
async def test_a_body_that_stalls(acme: Home, every: float | None) -> None:
    """A body that stalls, or drips, is given up in words, and nothing of it is kept."""
    bound(acme, pace=Pace(timedelta(seconds=0.3), bytes_per_second=10_000))
    body = big(900_000).body
    sent = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:300_000]
        while every is not None and not sent.is_set():
            await asyncio.sleep(every)
            yield b"A"
        await sent.wait()

    url = acme.registry.url + address(UI)
    headers = {**acme.authorization("ann"), "content-length": str(len(body))}
    async with acme.registry.session.put(url, data=slowly(), headers=headers) as reply:
        said = await reply.json()
        sent.set()

    assert reply.status == 400
    assert "too slowly" in said["error"]
    assert acme.stored() == []


async def test_a_body_that_is_slow_enough(acme: Home) -> None:
    """A body that keeps the pace is taken however long it takes altogether."""
    bound(acme, pace=Pace(timedelta(seconds=0.5), bytes_per_second=1000))
    body = a_publish().body

    async def slowly() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 200):
            await asyncio.sleep(0.1)
            yield body[at : at + 200]

    url = acme.registry.url + address(UI)
    async with acme.registry.session.put(
        url, data=slowly(), headers=acme.authorization("ann")
    ) as reply:
        assert reply.status == 201


async def test_a_client_that_leaves(acme: Home, caplog: pytest.LogCaptureFixture) -> None:
    """A publish whose client goes away leaves nothing, frees its place, and is no error of ours."""
    story = bound(acme, at_once=1)
    story._slots = asyncio.Semaphore(1)
    body = big(900_000).body
    async with _stalled(acme, body):
        pass

    told = await acme.put(a_publish())

    assert told.status == 201
    assert len(acme.stored()) == 1
    assert [line for line in caplog.records if line.levelname in {"ERROR", "CRITICAL"}] == []


# --- what -------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "x-unknown"])
async def test_a_coded_body(acme: Home, coding: str) -> None:
    """A body with a content coding is refused: it could unpack to any size."""
    told = await acme.put(gzip.compress(a_publish().body), content_encoding=coding)

    assert told.status == 400
    assert "content-encoding" in told.json()["error"]


def _without(key: str) -> Callable[[Document], object]:
    return lambda document: document.pop(key)


def _with(key: str, value: Any) -> Callable[[Document], object]:
    return lambda document: document.update({key: value})


BAD_DOCUMENTS: dict[str, Callable[[Document], object]] = {
    "no name": _with("name", None),
    "another name": _with("name", "@acme/other"),
    "another _id": _with("_id", "@acme/other"),
    "no versions": _without("versions"),
    "two versions": _with("versions", {v: {"name": UI, "version": v} for v in ("1.0.0", "2.0.0")}),
    "another version": lambda d: d["versions"]["1.0.0"].update(version="2.0.0"),
    "a manifest that is none": _with("versions", {"1.0.0": []}),
    "no tags": _without("dist-tags"),
    "two tags": _with("dist-tags", {"latest": "1.0.0", "next": "1.0.0"}),
    "a tag of another version": _with("dist-tags", {"latest": "2.0.0"}),
    "access": _with("access", "secret"),
    "two tarballs": lambda d: d["_attachments"].update({"other.tgz": attached(b"x")}),
    "a tarball that is no text": lambda d: next(iter(d["_attachments"].values())).update(data=7),
    "no base64": lambda d: next(iter(d["_attachments"].values())).update(data="%%%%"),
    "an empty tarball": lambda d: next(iter(d["_attachments"].values())).update(data="", length=0),
}


@pytest.mark.parametrize("flaw", BAD_DOCUMENTS)
async def test_a_document_that_is_no_publish(acme: Home, flaw: str) -> None:
    """A document with something missing, twice, or contradicting itself is told what is wrong."""
    publish = a_publish()
    BAD_DOCUMENTS[flaw](publish.document)

    told = await acme.put(publish)

    assert told.status in {400, 422}, told.body
    assert told.json()["error"]
    assert acme.stored() == []
    assert await acme.packument() == {}


BODIES = {
    "empty": b"",
    "no JSON": b"tarball",
    "an array": b"[]",
    "cut short": a_publish().body[:-1],
    "cut in the tarball": a_publish().body[:-100],
    "followed by more": a_publish().body + b"{}",
    "no UTF-8": a_publish().body.replace(b"# @acme/ui", b"\xff\xfe"),
    "deep": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "many brackets": b'{"a":[' + b"[]," * 500_000 + b"[]]}",
}


@pytest.mark.parametrize("flaw", BODIES)
async def test_a_body_that_is_no_document(acme: Home, flaw: str) -> None:
    """A body that is no sound JSON object is refused in words."""
    told = await acme.put(BODIES[flaw])

    assert told.status == 400
    assert told.json()["error"]
    assert acme.stored() == []


def _tar(*members: tuple[tarfile.TarInfo, bytes], package: Document | None = None) -> bytes:
    """An archive with package.json and these members."""
    inner = json.dumps(package or {"name": UI, "version": "1.0.0"}).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, data in ((_file("package/package.json"), inner), *members):
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _file(path: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, target
    return info


SOUND = packing.tarball({"name": UI, "version": "1.0.0"}, {})
ARCHIVES = {
    "no archive": b"x" * 1000,
    "no gzip": gzip.decompress(SOUND),
    "cut short": SOUND[:-20],
    "two gzip members": SOUND + SOUND,
    "trailing bytes": SOUND + b"x",
    "no package.json": gzip.compress(b"\0" * 1024),
    "climbing": _tar((_file("package/../../evil"), b"x")),
    "absolute": _tar((_file("/etc/passwd"), b"x")),
    "a link": _tar((_file("package/link", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "a hard link": _tar((_file("package/link", tarfile.LNKTYPE, "package/package.json"), b"")),
    "a device": _tar((_file("package/null", tarfile.CHRTYPE), b"")),
    "two package.json": _tar((_file("package/package.json"), b'{"name":"evil"}')),
    "another case": _tar((_file("package/PACKAGE.JSON"), b'{"name":"evil"}')),
    "two top folders": _tar((_file("other/package.json"), b"{}")),
    "package.json that is no JSON": gzip.compress(
        gzip.decompress(SOUND).replace(b'{\n  "name"', b'[\n  "name"')
    ),
    "a bomb": _tar((_file("package/zeros"), b"\0" * (80 * MIB))),
}


@pytest.mark.parametrize("flaw", ARCHIVES)
async def test_a_tarball_that_is_not_what_every_client_reads_alike(acme: Home, flaw: str) -> None:
    """An archive that is broken, climbs, links, bursts or shows two faces is refused in words."""
    told = await acme.put(a_publish(tarball=ARCHIVES[flaw]))

    assert told.status == 422, told.body
    assert told.json()["error"]
    assert acme.stored() == []


NAMES = ["@acme/Upper", "@acme/_hidden", "@acme/sp!ce", "@acme/" + "x" * 300]


@pytest.mark.parametrize("name", NAMES, ids=["upper case", "hidden", "other", "long"])
async def test_a_name_no_new_package_may_have(acme: Home, name: str) -> None:
    """A name that reading tolerates is refused for a package that is new."""
    told = await acme.put(a_publish(name=name), name)

    assert told.status == 400
    assert "a new package cannot be called" in told.json()["error"]
    assert acme.stored() == []


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0.0", "01.0.0", "../1.0.0", "1.0.0 "])
async def test_a_version_that_is_none(acme: Home, version: str) -> None:
    """A version that is not written as a version is refused."""
    told = await acme.put(a_publish(version, tarball=SOUND))

    assert told.status == 400
    assert acme.stored() == []


class _stalled:  # noqa: N801  # used like a function
    """A publish under way that never ends; its client leaves with the block."""

    def __init__(self, acme: Home, body: bytes) -> None:
        self._acme = acme
        self._body = body
        self._session = aiohttp.ClientSession()

    async def __aenter__(self) -> None:
        url = self._acme.registry.url + address(UI)
        headers = {**self._acme.authorization("ann"), "content-length": str(len(self._body))}
        began = asyncio.Event()

        async def stalling() -> AsyncIterator[bytes]:
            yield self._body[: len(self._body) // 2]
            began.set()
            await asyncio.sleep(60)

        async def put() -> None:
            with suppress(aiohttp.ClientError):
                async with self._session.put(url, data=stalling(), headers=headers):
                    pass

        self._task = asyncio.create_task(put())
        await began.wait()
        await asyncio.sleep(0.1)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._session.close()
