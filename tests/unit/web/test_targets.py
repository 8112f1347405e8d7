"""Request targets: every spelling of a thing is one value, and nothing raises."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.npm.names import PackageName
from proxy.web import targets
from proxy.web.targets import Api, Manifest, Packument, Root, TarballFile, Unknown, parse
from tests.strategies import package_names, versions

SCOPED = PackageName("@scope/name")
PLAIN = PackageName("lodash")
SCOPED_TARBALL = TarballFile(SCOPED, "name-1.0.0.tgz")
PLAIN_TARBALL = TarballFile(PLAIN, "lodash-1.0.0.tgz")

SPELLINGS = [
    ("/lodash", Packument(PLAIN)),
    ("/lodash/", Packument(PLAIN)),
    ("//lodash", Packument(PLAIN)),
    ("/lodash?x=1&y=/-/z", Packument(PLAIN)),
    ("/lodash#top", Packument(PLAIN)),
    ("/%6Codash", Packument(PLAIN)),
    ("http://other.example:99999/lodash?x", Packument(PLAIN)),
    ("HTTP://user:secret@[::1]/lodash", Packument(PLAIN)),
    ("/@scope/name", Packument(SCOPED)),
    ("/@scope%2fname", Packument(SCOPED)),
    ("/@scope%2Fname", Packument(SCOPED)),
    ("/%40scope%2Fname", Packument(SCOPED)),
    ("/%40scope/name/", Packument(SCOPED)),
    ("/@scope//name", Packument(SCOPED)),
    ("/JSONStream", Packument(PackageName("JSONStream"))),
    ("/org", Packument(PackageName("org"))),
    ("/team", Packument(PackageName("team"))),
    ("/download", Packument(PackageName("download"))),
    ("/downloads", Packument(PackageName("downloads"))),
    ("/constructor", Packument(PackageName("constructor"))),
    ("/lodash.js", Packument(PackageName("lodash.js"))),
    ("/lodash/1.0.0", Manifest(PLAIN, "1.0.0")),
    ("/lodash/latest/", Manifest(PLAIN, "latest")),
    ("/lodash/download", Manifest(PLAIN, "download")),
    ("/lodash/%5E1.0.0", Manifest(PLAIN, "^1.0.0")),
    ("/lodash/1.0.0+build", Manifest(PLAIN, "1.0.0+build")),
    ("/lodash/1.0.0%2Bbuild", Manifest(PLAIN, "1.0.0+build")),
    ("/@scope/name/1.0.0", Manifest(SCOPED, "1.0.0")),
    ("/@scope%2fname/1.0.0", Manifest(SCOPED, "1.0.0")),
    ("/lodash/-/lodash-1.0.0.tgz", PLAIN_TARBALL),
    ("/lodash/-/lodash-1.0.0.tgz?cache=1", PLAIN_TARBALL),
    ("/lodash//-//lodash-1.0.0.tgz", PLAIN_TARBALL),
    ("/lodash/-/lodash%2D1.0.0.tgz", PLAIN_TARBALL),
    ("/lodash/download/lodash-1.0.0.tgz", PLAIN_TARBALL),
    ("/lodash/%2d/lodash-1.0.0.tgz", PLAIN_TARBALL),
    ("/@scope/name/-/name-1.0.0.tgz", SCOPED_TARBALL),
    ("/@scope%2fname/-/name-1.0.0.tgz", SCOPED_TARBALL),
    ("/%40scope%2Fname/-/name-1.0.0.tgz", SCOPED_TARBALL),
    ("/@scope/name/-/@scope/name-1.0.0.tgz", SCOPED_TARBALL),
    ("/@scope/name/-/@scope%2fname-1.0.0.tgz", SCOPED_TARBALL),
    ("/@scope%2fname/-/@scope%2Fname-1.0.0.tgz", SCOPED_TARBALL),
    ("/@scope%2fname/-/%40scope%2Fname-1.0.0.tgz", SCOPED_TARBALL),
    ("/@scope/name/download/@scope/name-1.0.0.tgz", SCOPED_TARBALL),
    ("/@scope/name/download/name-1.0.0.tgz", SCOPED_TARBALL),
    ("/n/-/n-1.0.0+b.1.tgz", TarballFile(PackageName("n"), "n-1.0.0+b.1.tgz")),
    ("/n/-/n-1.0.0%2Bb.1.tgz", TarballFile(PackageName("n"), "n-1.0.0+b.1.tgz")),
    ("/", Root()),
    ("", Unknown("there is nothing at this address")),
    ("//", Root()),
    ("/?x", Root()),
    ("http://other.example", Root()),
    ("/-/ping", Api(("-", "ping"))),
    ("/-/ping?write=true", Api(("-", "ping"))),
    ("/-", Api(("-",))),
    ("/%2d/ping", Api(("-", "ping"))),
    ("/-/package/@s%2fn/dist-tags", Api(("-", "package", "@s/n", "dist-tags"))),
    ("/-/package/@s/n/dist-tags", Api(("-", "package", "@s", "n", "dist-tags"))),
    ("/downloads/point/last-week/a", Api(("downloads", "point", "last-week", "a"))),
    ("/downloads/1.0.0", Manifest(PackageName("downloads"), "1.0.0")),
]


@pytest.mark.parametrize(("raw", "target"), SPELLINGS)
def test_every_spelling_of_a_thing_is_one_value(raw: str, target: targets.Target) -> None:
    """A target in any of its spellings names the one thing it means."""
    assert parse(raw) == target


IMPOSSIBLE = [
    "/..",
    "/../etc/passwd",
    "/../../etc",
    "/./lodash",
    "/%2e%2e/lodash",
    "/..%2f..%2fetc%2fpasswd",
    "/lodash/-/../../etc/passwd",
    "/lodash/-/..%2f..%2fpasswd",
    "/lodash/-/%2e%2e",
    "/lodash/-/.hidden.tgz",
    "/lodash/-/a%00.tgz",
    "/lodash/-/a%0d%0ab.tgz",
    "/lodash/-/a%5cb.tgz",
    "/lodash/-/a*.tgz",
    "/lodash/-/[a].tgz",
    "/lodash/-/{a}.tgz",
    "/lodash/-/a%3fb.tgz",
    "/lodash/-/",
    "/lodash/-",
    "/lodash/-/a/b/c.tgz",
    "/lodash/-/@scope/lodash-1.0.0.tgz",
    "/@scope/name/-/@other/name-1.0.0.tgz",
    "/lodash/1.0.0/x",
    "/lodash/-rev/1-abc/y/z",
    "/lodash/-rev/1-abc/x",
    "/lodash/1.0.0%00",
    "/lodash/a%2fb",
    "/lodash/%5c",
    "/lodash%00",
    "/lodash%0a",
    "/lo%5cdash",
    "/lo%20dash",
    "/%20lodash",
    "/lod%3fsh",
    "/{a}",
    "/[a]",
    "/@",
    "/@/name",
    "/@scope",
    "/@scope/",
    "/@scope%2f",
    "/@scope%2f..",
    "/@scope/..",
    "/@..%2fname",
    "/@scope%2fname%2fmore",
    "/@scope/-",
    "/node_modules",
    "/favicon.ico",
    "/robots.txt",
    "/org/scope/team",
    "/%ff",
    "/%c0%ae%c0%ae",
    "/%ed%a0%80",
    "/%f4%90%80%80",
    "/%zz",
    "/%",
    "/lodash%2",
    "*",
    "host.example:443",
    "lodash",
    "http:/lodash",
    "/" + "a" * 600,
    "/lodash/" + "1" * 300,
    "/lodash/-/" + "a" * 700 + ".tgz",
]


@pytest.mark.parametrize("raw", IMPOSSIBLE)
def test_what_names_nothing_is_unknown(raw: str) -> None:
    """A target that climbs, hides, does not decode or has no meaning names nothing."""
    assert isinstance(parse(raw), Unknown)


@pytest.mark.parametrize(
    "raw",
    [
        "/@scope%252fname",
        "/%2540scope%252fname",
        "/lodash/-/a%252e.tgz",
        "/lodash/%255E1.0.0",
        "/lod%2561sh",
    ],
)
def test_a_doubly_encoded_target_is_told_so(raw: str) -> None:
    """A percent sign that is left after decoding once is named as double encoding."""
    target = parse(raw)

    assert isinstance(target, Unknown)
    assert "double-encoded" in target.reason


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        ("/npm/lodash", Packument(PLAIN)),
        ("/lodash", Packument(PLAIN)),
        ("/npm/", Root()),
        ("/npm/-/ping", Api(("-", "ping"))),
        ("/-/ping", Api(("-", "ping"))),
        ("/npm/npm", Packument(PackageName("npm"))),
        ("/npm/npm/-/npm-1.0.0.tgz", TarballFile(PackageName("npm"), "npm-1.0.0.tgz")),
        ("/npm/-/npm-1.0.0.tgz", TarballFile(PackageName("npm"), "npm-1.0.0.tgz")),
        ("/npmx", Packument(PackageName("npmx"))),
    ],
)
def test_a_prefix_is_stripped_where_it_is_and_missed_nowhere(
    raw: str, target: targets.Target
) -> None:
    """Mounted under a prefix, a target means the same with it and without it."""
    assert parse(raw, "/npm") == target


@given(st.text(max_size=300), st.sampled_from(["", "/npm", "/a/b"]))
@example("/\ud800", "")
@example("/-/\ud800", "")
@example("/%", "")
def test_no_text_makes_parsing_raise(raw: str, prefix: str) -> None:
    """Any text at all is read as some target."""
    assert isinstance(parse(raw, prefix), targets.Target)


@given(st.text("/@%2fF.-a0\\?*#", max_size=40))
def test_no_target_names_a_path_that_climbs(raw: str) -> None:
    """Whatever is sent, a file or a version holds no slash, backslash or leading dot."""
    target = parse("/" + raw)

    if isinstance(target, TarballFile):
        assert not set(target.file) & set("/\\%*?")
        assert not target.file.startswith(".")
    if isinstance(target, Manifest):
        assert not set(target.spec) & set("/\\%")


@given(package_names())
def test_a_name_written_for_an_address_is_read_back(name: PackageName) -> None:
    """The encoded and the literal form of a name both lead back to it."""
    assert parse("/" + name.escaped) == Packument(name)
    assert parse("/" + name.path) == Packument(name)


@given(package_names(), versions())
def test_a_version_written_for_an_address_is_read_back(name: PackageName, version: str) -> None:
    """A version is the same behind the encoded and the literal form of a name."""
    assert parse(f"/{name.escaped}/{quote(version, safe='')}") == Manifest(name, version)
    assert parse(f"/{name.path}/{version}") == Manifest(name, version)
