"""Names and routing over the wire: items 1 to 14, 83, 96, 103 and 105 of the protocol's edge cases.

Each test is named after its item.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fakes import rawhttp
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry
from tests.routed import route

SPELLINGS = ["/@s%2fn", "/@s%2Fn", "/@s/n", "/%40s%2Fn", "/%40s%2fn", "/%40s/n", "/@s%2F%6e"]


@pytest.fixture
async def private(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry where `@acme/*` and `acme-*` are hosted and the rest is mirrored."""
    registry = Registry(tmp_path / "data", uplink.url, clock=clock)
    route(registry, ("@acme/*", "hosted"), ("acme-*", "hosted"), ("*", "npm"))
    async with registry:
        yield registry


async def test_01_scope_slash_encoded_upper_lower_and_literal(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A scope's slash may be written in three ways and gives the same bytes and ETag."""
    uplink.publish("@s/n", "1.0.0")

    lower, upper, literal = [await registry.get(path) for path in SPELLINGS[:3]]

    assert lower.status == upper.status == literal.status == 200
    assert lower.body == upper.body == literal.body
    assert lower.headers["ETag"] == upper.headers["ETag"] == literal.headers["ETag"]
    assert uplink.count() == 1


async def test_02_scope_sign_encoded(registry: Registry, uplink: FakeUplink) -> None:
    """`@` encoded, as npm-check-updates sends it, means itself; so does any other character."""
    uplink.publish("@s/n", "1.0.0")

    names = [(await registry.get(path)).json()["name"] for path in SPELLINGS[3:]]

    assert names == ["@s/n"] * len(names)


async def test_03_front_proxy_that_decodes(registry: Registry, uplink: FakeUplink) -> None:
    """With the slash decoded, packument, manifest, tarball and dist-tags are all found."""
    data = uplink.publish("@s/n", "1.0.0")

    packument = await registry.get("/@s/n")
    manifest = await registry.get("/@s/n/1.0.0")
    tarball = await registry.get("/@s/n/-/n-1.0.0.tgz")
    tags = await registry.get("/-/package/@s/n/dist-tags")

    assert packument.json()["versions"]["1.0.0"] == manifest.json()
    assert tarball.body == data
    assert tags.json() == {"latest": "1.0.0"}


@pytest.mark.parametrize(
    "path", ["/@s%252fn", "/@s%252Fn", "/%2540s%252fn", "/@s%252fn/-/n-1.0.0.tgz", "/n/%2531"]
)
async def test_04_double_encoded(registry: Registry, uplink: FakeUplink, path: str) -> None:
    """A name that was encoded twice is a 404 that says so, and nobody is asked."""
    reply = await registry.get(path)

    assert reply.status == 404
    assert "double-encoded" in reply.json()["error"]
    assert uplink.count() == 0


@pytest.mark.parametrize("name", ["org", "team", "package", "download", "downloads", "favicon"])
async def test_05_packages_named_like_the_api(
    registry: Registry, uplink: FakeUplink, name: str
) -> None:
    """A package may be called as a part of the API is: packument, manifest and tarball."""
    data = uplink.publish(name, "1.0.0")

    assert (await registry.get(f"/{name}")).json()["name"] == name
    assert (await registry.get(f"/{name}/1.0.0")).json()["version"] == "1.0.0"
    assert (await registry.get(f"/{name}/-/{name}-1.0.0.tgz")).body == data


@pytest.mark.parametrize("path", ["/org/acme/team?format=cli", "/team/acme/devs/user"])
async def test_05_yarn_classics_team_commands(
    registry: Registry, uplink: FakeUplink, path: str
) -> None:
    """Yarn classic asks for teams without `/-`: a 404 it gives up on, and nobody is asked."""
    assert (await registry.get(path)).status == 404
    assert uplink.count() == 0


@pytest.mark.parametrize("path", ["/favicon.ico", "/robots.txt", "/node_modules"])
async def test_05_reserved_names(registry: Registry, uplink: FakeUplink, path: str) -> None:
    """What browsers and robots ask for is no package, and no uplink hears of it."""
    assert (await registry.get(path)).status == 404
    assert uplink.count() == 0


async def test_06_two_pieces_are_a_version_or_a_scope(
    registry: Registry, uplink: FakeUplink
) -> None:
    """`/@s/n/1.0.0` is a version of `@s/n`, `/n/1.0.0` one of `n`, `/@s/n` a package."""
    uplink.publish("@s/n", "1.0.0")
    uplink.publish("n", "1.0.0")

    assert (await registry.get("/@s/n/1.0.0")).json()["_id"] == "@s/n@1.0.0"
    assert (await registry.get("/@s%2fn/1.0.0")).json()["_id"] == "@s/n@1.0.0"
    assert (await registry.get("/n/1.0.0")).json()["_id"] == "n@1.0.0"
    assert (await registry.get("/@s/n")).json()["_id"] == "@s/n"


@pytest.mark.parametrize("path", ["/n/-/x", "/n/-/x.tgz", "/n/-/n-9.9.9.tgz"])
async def test_06_a_dash_is_never_a_version(
    registry: Registry, uplink: FakeUplink, path: str
) -> None:
    """What stands behind `/-/` is a tarball's file, and a 404 if the package has none such."""
    uplink.publish("n", "1.0.0")

    reply = await registry.get(path)

    assert (reply.status, reply.json()["code"]) == (404, "E_NO_TARBALL")


@pytest.mark.parametrize("path", ["/n/-", "/n/-/", "/n/1.0.0/x", "/@s", "/@s/", "/@s/n/1.0.0/x"])
async def test_06_what_is_nothing(registry: Registry, uplink: FakeUplink, path: str) -> None:
    """Too few pieces or too many name nothing: a 404 of ours, and nobody is asked."""
    assert (await registry.get(path)).status == 404
    assert uplink.count() == 0


async def test_07_names_that_differ_by_case_only(registry: Registry, uplink: FakeUplink) -> None:
    """`JSONStream` and `jsonstream` are two packages, in documents and in tarballs."""
    upper = uplink.publish("JSONStream", "1.3.5", files={"a.js": b"upper"})
    lower = uplink.publish("jsonstream", "1.0.3", files={"a.js": b"lower"})

    names = [
        (await registry.get(f"/{name}")).json()["name"] for name in ("JSONStream", "jsonstream")
    ]
    tarballs = [
        (await registry.get("/JSONStream/-/JSONStream-1.3.5.tgz")).body,
        (await registry.get("/jsonstream/-/jsonstream-1.0.3.tgz")).body,
    ]
    await uplink.stop()
    again = (await registry.get("/JSONStream/-/JSONStream-1.3.5.tgz")).body

    assert names == ["JSONStream", "jsonstream"]
    assert tarballs == [upper, lower]
    assert again == upper


@pytest.mark.parametrize(
    "name", ["exp!ress", "a~b", "it's", "f(n)", "_under", "-dash", "@s/_x", "@s/a'b"]
)
async def test_08_legacy_names(registry: Registry, uplink: FakeUplink, name: str) -> None:
    """Names that npm would no longer allow are read, encoded or not, with their tarballs."""
    data = uplink.publish(name, "1.0.0")

    plain = await registry.get(f"/{name}")
    encoded = await registry.get(f"/{quote(name, safe='')}")
    link = plain.json()["versions"]["1.0.0"]["dist"]["tarball"]

    assert plain.status == 200
    assert plain.body == encoded.body
    assert (await registry.get(link.removeprefix(registry.url))).body == data


@pytest.mark.parametrize(
    "name",
    ["events", "punycode", "string_decoder", "constructor", "hasownproperty", "__proto__", "http"],
)
async def test_09_core_modules_and_prototype_names(
    registry: Registry, uplink: FakeUplink, name: str
) -> None:
    """Names of core modules and of JavaScript's own properties are packages like others."""
    uplink.publish(name, "1.0.0")

    assert (await registry.get(f"/{name}")).json()["name"] == name
    assert (await registry.get(f"/{name}/latest")).json()["version"] == "1.0.0"
    assert (await registry.get(f"/{name}/constructor")).status == 404


async def test_09_a_name_with_dots(registry: Registry, uplink: FakeUplink) -> None:
    """A name that ends like a file is a package."""
    uplink.publish("socket.io.js", "1.0.0")
    uplink.publish("x.tgz", "1.0.0")

    assert (await registry.get("/socket.io.js")).status == 200
    assert (await registry.get("/x.tgz")).status == 200


@pytest.mark.parametrize("length", [214, 215, 512])
async def test_10_long_names_are_read(registry: Registry, uplink: FakeUplink, length: int) -> None:
    """A name as long as the registry ever allowed is served, with its tarball."""
    name = "@s/" + "n" * (length - 3)
    data = uplink.publish(name, "1.0.0")

    assert (await registry.get(f"/@s%2f{'n' * (length - 3)}")).json()["name"] == name
    assert (await registry.get(f"/{name}/-/{name[3:]}-1.0.0.tgz")).body == data


async def test_10_longer_names_do_not_exist(registry: Registry, uplink: FakeUplink) -> None:
    """A name longer than any there ever was is our own 404."""
    assert (await registry.get("/" + "n" * 513)).status == 404
    assert uplink.count() == 0


CLIMBING = [
    "/n/-/..%2f..%2fetc%2fpasswd",
    "/n/-/%2e%2e",
    "/n/-/..%5c..%5cx.tgz",
    "/n/-/n-1.0.0.tgz%00.txt",
    "/n/-/%00",
    "/..%2f..%2fetc",
    "/@s/..%2f..%2fx",
    "/@..%2fx/n",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/n/-/../../../etc/passwd",
    "/n/..%2f..%2fx",
]


async def test_12_path_traversal_and_nul(registry: Registry, uplink: FakeUplink) -> None:
    """What climbs or ends a string is no name: refused, and no uplink is asked for it."""
    port = int(registry.url.rpartition(":")[2])

    replies = {path: await rawhttp.send(port, rawhttp.get(path)) for path in CLIMBING}

    assert {path for path, reply in replies.items() if reply and reply.status in {400, 404}} == set(
        CLIMBING
    )
    assert all(reply and json.loads(reply.body)["error"] for reply in replies.values())
    assert uplink.count() == 0


@pytest.mark.parametrize("path", ["/n/", "//n", "/n?x=1", "/n/?x=1", "/n#f", "/n?"])
async def test_13_slashes_and_queries_on_a_packument(
    registry: Registry, uplink: FakeUplink, path: str
) -> None:
    """A slash too many or a query does not change what a packument is."""
    uplink.publish("n", "1.0.0")
    port = int(registry.url.rpartition(":")[2])

    reply = await rawhttp.send(port, rawhttp.get(path))

    assert reply is not None
    assert json.loads(reply.body)["_id"] == "n"
    assert uplink.seen()[0].target == "/n"


@pytest.mark.parametrize(
    "path", ["/n/-/n-1.0.0.tgz?cache=1", "/n//-//n-1.0.0.tgz", "/n/-/n-1.0.0.tgz/"]
)
async def test_13_slashes_and_queries_on_a_tarball(
    registry: Registry, uplink: FakeUplink, path: str
) -> None:
    """Neither do they change which tarball is meant."""
    data = uplink.publish("n", "1.0.0")

    assert (await registry.get(path)).body == data


UNKNOWN_SERVICES = [
    "/-/nope",
    "/-/v1/nope",
    "/-/all",
    "/-/all/since?stale=update_after&startkey=1",
    "/-/npm/v1/hooks",
    "/-/-/package?format=cli",
    "/-/n/-/n-1.0.0.tgz",
    "/-/",
    "/-",
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
async def test_14_unknown_services_are_no_packages(
    registry: Registry, uplink: FakeUplink, method: str
) -> None:
    """What is not known below `/-/` is a 404 in words, and is never looked up as a package."""
    replies = {path: await registry.ask(method, path) for path in UNKNOWN_SERVICES}

    assert {path: reply.status for path, reply in replies.items()} == dict.fromkeys(replies, 404)
    assert method == "HEAD" or all(reply.json()["error"] for reply in replies.values())
    assert uplink.count() == 0


HOSTED_PLACES = [
    ("GET", "/@acme/x"),
    ("GET", "/@acme%2fx"),
    ("GET", "/%40acme%2fx"),
    ("HEAD", "/@acme%2fx"),
    ("GET", "/@acme%2fx?write=true"),
    ("GET", "/@acme/x/1.0.0"),
    ("GET", "/@acme%2fx/latest"),
    ("GET", "/@acme/x/-/x-1.0.0.tgz"),
    ("HEAD", "/@acme/x/-/x-1.0.0.tgz"),
    ("GET", "/@acme%2fx/-/@acme%2fx-1.0.0.tgz"),
    ("GET", "/@acme/x/download/@acme/x-1.0.0.tgz"),
    ("GET", "/acme-secret"),
    ("GET", "/acme-secret/1.0.0"),
    ("GET", "/acme-secret/-/acme-secret-1.0.0.tgz"),
    ("GET", "/-/package/@acme%2fx/dist-tags"),
    ("GET", "/-/package/@acme/x/dist-tags"),
    ("GET", "/-/npm/v1/attestations/@acme%2fx@1.0.0"),
    ("GET", "/-/npm/v1/attestations/@acme/x@1.0.0"),
    ("GET", "/downloads/point/last-week/@acme/x"),
    ("GET", "/downloads/point/last-week/@acme%2fx"),
    ("GET", "/downloads/range/last-week/lodash,@acme%2fx"),
    ("GET", "/downloads/point/last-week/lodash,acme-secret"),
    ("GET", "/-/v1/search?text=@acme/x"),
    ("GET", "/-/v1/search?text=%40acme%2Fx&size=20"),
    ("GET", "/-/v1/search?text=@acme"),
    ("GET", "/-/v1/search?text=scope:acme"),
    ("GET", "/-/v1/search?text=react+acme-secret"),
    ("GET", "/-/v1/search?text=react&text=acme-secret"),
    ("HEAD", "/-/v1/search?text=acme-secret"),
]


async def test_83_a_hosted_name_is_asked_of_nobody(private: Registry, uplink: FakeUplink) -> None:
    """A name that is ours alone is our own 404 on every path, whatever an uplink would say."""
    uplink.publish("@acme/x", "1.0.0")
    uplink.publish("acme-secret", "1.0.0")

    found = {place: (await private.ask(*place)).status for place in HOSTED_PLACES}

    assert found == dict.fromkeys(HOSTED_PLACES, 404)
    assert uplink.count() == 0


async def test_83_a_bulk_audit_names_no_hosted_package(
    private: Registry, uplink: FakeUplink
) -> None:
    """Hosted names are taken out of a bulk audit, and one with no others asks nobody."""
    path = "/-/npm/v1/security/advisories/bulk"
    uplink.advisories = {"lodash": [{"id": 1}], "@acme/x": [{"id": 2}]}

    both = await private.ask("POST", path, data=b'{"lodash":["1.0.0"],"@acme/x":["1.0.0"]}')
    only = await private.ask("POST", path, data=b'{"@acme/x":["1.0.0"],"acme-x":["1.0.0"]}')

    assert both.json() == {"lodash": [{"id": 1}]}
    assert (only.status, only.json()) == (200, {})
    assert [_sent(each.body) for each in uplink.seen()] == [{"lodash": ["1.0.0"]}]


@pytest.mark.parametrize("kind", ["audits", "audits/quick"])
async def test_83_an_audit_tree_names_no_hosted_package(
    private: Registry, uplink: FakeUplink, kind: str
) -> None:
    """Nowhere in the tree that an uplink gets does a hosted name stand."""
    tree = {
        "name": "@acme/app",
        "install": ["@acme/x@^1"],
        "requires": {"lodash": "1", "@acme/x": "1", "alias": "npm:@acme/x@1"},
        "dependencies": {
            "lodash": {"version": "1.0.0", "requires": {"acme-secret": "1"}},
            "@acme/x": {"version": "1.0.0", "dependencies": {"minimist": {"version": "0.0.8"}}},
        },
    }

    reply = await private.ask("POST", f"/-/npm/v1/security/{kind}", data=json.dumps(tree).encode())

    (asked,) = uplink.seen()
    assert reply.status == 200
    assert "acme" not in json.dumps(_sent(asked.body))
    assert "minimist" in json.dumps(_sent(asked.body))


async def test_83_search_results_hold_no_hosted_name(private: Registry, uplink: FakeUplink) -> None:
    """A package of a hosted name that an uplink has as well is not found through us."""
    uplink.publish("x-ray", "1.0.0")
    uplink.publish("@acme/x-ray", "1.0.0")

    found = (await private.get("/-/v1/search?text=x-ray")).json()

    assert [each["package"]["name"] for each in found["objects"]] == ["x-ray"]
    assert found["total"] == 1


@pytest.mark.parametrize(
    "path",
    ["/-/all", "/-/all/since?stale=update_after&startkey=1", "/-/short", "/-/rss", "/_changes"],
)
async def test_96_no_full_dump(registry: Registry, uplink: FakeUplink, path: str) -> None:
    """A listing of everything, to which npm 6 falls back from search, is a 404 with a text."""
    reply = await registry.get(path)

    assert reply.status == 404
    assert reply.json()["error"]


OLD_ADDRESSES = [
    ("n", "/n/download/n-1.0.0.tgz"),
    ("n", "/n/-/n-1.0.0.tgz?cache=0&other_urls=x"),
    ("@s/n", "/@s%2fn/-/n-1.0.0.tgz"),
    ("@s/n", "/@s%2Fn/-/n-1.0.0.tgz"),
    ("@s/n", "/@s/n/-/@s/n-1.0.0.tgz"),
    ("@s/n", "/@s%2fn/-/@s%2fn-1.0.0.tgz"),
    ("@s/n", "/@s/n/-/%40s%2Fn-1.0.0.tgz"),
    ("@s/n", "/@s/n/download/@s/n-1.0.0.tgz"),
    ("@s/n", "/@s/n/download/n-1.0.0.tgz"),
]


async def test_103_addresses_in_old_lockfiles(registry: Registry, uplink: FakeUplink) -> None:
    """Every way in which lockfiles write a tarball's address leads to the tarball."""
    held = {name: uplink.publish(name, "1.0.0") for name in ("n", "@s/n")}

    found = {path: (await registry.get(path)).body for _, path in OLD_ADDRESSES}

    assert found == {path: held[name] for name, path in OLD_ADDRESSES}


async def test_105_long_headers_and_targets(registry: Registry, uplink: FakeUplink) -> None:
    """A command line of 12 kB in `referer` (npm 6) and a target of 12 kB are no bad request."""
    uplink.publish("n", "1.0.0")

    reply = await registry.get("/n?" + "q" * 12_000, referer="install " + "@s/some-name " * 900)

    assert reply.status == 200


def _sent(body: bytes) -> object:
    """What an uplink was asked, unpacked."""
    return json.loads(gzip.decompress(body))
