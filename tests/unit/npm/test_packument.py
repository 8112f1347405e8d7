"""Packuments: what is refused, what is read, and how a version is found."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import names, packument
from proxy.npm.dist import Dist
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.packument import Empty, Malformed, Packument
from tests.strategies import packuments

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UI = PackageName("@acme/ui")


def read(body: bytes, name: PackageName = UI) -> Packument:
    """Read a body that came now."""
    return packument.read(body, name=name, fetched_at=NOW)


def document(**fields: object) -> bytes:
    """A small document of @acme/ui; None leaves a field out."""
    whole = {"name": "@acme/ui", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {}}}
    whole |= {key.replace("dist_tags", "dist-tags"): value for key, value in fields.items()}
    return json.dumps({key: value for key, value in whole.items() if value is not None}).encode()


def with_tarballs(tarballs: dict[str, str | None], name: PackageName = UI) -> Packument:
    """A document whose versions have these addresses."""
    versions = {version: {"dist": {"tarball": url}} for version, url in tarballs.items()}
    return read(document(name=name.full, versions=versions), name)


# --- reading --------------------------------------------------------------------------------------


@given(packuments())
def test_a_packument_keeps_every_byte_of_its_fields(sample):
    """The envelope holds the document's keys and values as they stand in it."""
    found = read(sample.body, sample.name)
    assert list(found.versions) == list(json.loads(sample.body)["versions"])
    assert list(found.envelope) == list(json.loads(sample.body))
    assert all(bytes(raw) in sample.body for raw in found.envelope.values())
    assert (found.name, found.form) == (sample.name.full, Form.FULL)


@given(packuments(), st.data())
def test_a_body_cut_anywhere_is_malformed(sample, data):
    """No beginning of a document is taken for a document."""
    whole = sample.body.rstrip()
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Malformed):
        read(whole[:length], sample.name)


@given(st.binary(max_size=60) | st.text('{}[]":,na me', max_size=30).map(str.encode))
def test_wild_bytes_are_malformed(body):
    """Any bytes that are no packument raise Malformed, and nothing else."""
    with pytest.raises(Malformed):
        read(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not a JSON object"),
        (b"<html><body>log in</body></html>", "not a JSON object"),
        (b'"not found"', "not a JSON object"),
        (b"[]", "not a JSON object"),
        (document() + b"x", "not a JSON object"),
        (document(readme="caf\xe9").replace(b"\\u00e9", b"\xe9"), "not UTF-8"),
        (b'{"name":"@acme/ui","readme":"\\ud83d","versions":{"1.0.0":', "not a JSON object"),
        (document(name=None), "no name"),
        (document(name=7), "no name"),
        (b'{"error":"not found"}', "no name"),
        (document(name="@acme/UI"), "'@acme/UI' instead of '@acme/ui'"),
        (document(name=None, _id="ui"), "'ui' instead"),
        (document(versions=None), "versions are not an object"),
        (document(versions=[]), "versions are not an object"),
        (document(versions="1.0.0", time={"created": "x"}), "versions are not an object"),
    ],
)
def test_what_is_no_packument_of_that_name_is_malformed(body, reason):
    """HTML, cut or foreign documents are refused with a reason."""
    with pytest.raises(Malformed, match=reason) as caught:
        read(body)
    assert caught.value.reason == str(caught.value)
    assert not isinstance(caught.value, Empty)


@pytest.mark.parametrize(
    "body",
    [
        document(versions={}),
        document(versions=None, time={"unpublished": {"name": "x"}}),
        document(versions={}, time={"unpublished": {"name": "x"}}),
    ],
)
def test_a_package_without_versions_is_empty(body):
    """An unpublished package is a sound answer of its own kind, not an outage."""
    with pytest.raises(Empty):
        read(body)


def test_the_id_stands_in_for_the_name():
    """A document without a name is known by its _id."""
    assert read(document(name=None, _id="@acme/ui")).name == "@acme/ui"


def test_half_an_emoji_in_a_readme_does_not_hide_the_package():
    """A readme cut through a surrogate pair is mended; the rest stays as it is."""
    found = read(b'{"name":"@acme/ui","readme":"x\\ud83d","versions":{"1.0.0":{"n":1.10}}}')
    assert bytes(found.envelope["readme"]) == b'"x\\ufffd"'
    assert bytes(found.versions["1.0.0"]) == b'{"n":1.10}'


@pytest.mark.parametrize(
    ("tags", "read_as"),
    [
        ({"latest": "1.0.0", "next": "2.0.0"}, {"latest": "1.0.0", "next": "2.0.0"}),
        ({"latest": "1.0.0", "x": 7, "y": None, "z": ["1"]}, {"latest": "1.0.0"}),
        ([], {}),
        ("latest", {}),
        (None, {}),
    ],
)
def test_dist_tags_that_are_no_strings_are_passed_over(tags, read_as):
    """Garbage among the tags does not make a package unreadable."""
    assert read(document(dist_tags=tags)).dist_tags == read_as


# --- which form it is -----------------------------------------------------------------------------

ABBREVIATED = {"modified": "2020-01-01T00:00:00.000Z"}
COMPLETE_TIME = {"created": "2020", "modified": "2020", "1.0.0": "2020-01-01T00:00:00.000Z"}


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        (ABBREVIATED, Form.ABBREVIATED),
        (ABBREVIATED | {"time": COMPLETE_TIME}, Form.ABBREVIATED),
        ({"_id": "@acme/ui", "time": {"1.0.0": "2020-01-01T00:00:00.000Z"}}, Form.FULL),
        ({"_id": "@acme/ui", "_rev": "1-x", "readme": "", "time": COMPLETE_TIME}, Form.FULL),
        ({}, Form.FULL),
        ({"modified": 7}, Form.FULL),
        (ABBREVIATED | {"_id": "@acme/ui"}, Form.FULL),
        (ABBREVIATED | {"_rev": "1-x"}, Form.FULL),
        (ABBREVIATED | {"readme": ""}, Form.FULL),
        (ABBREVIATED | {"maintainers": []}, Form.FULL),
    ],
)
def test_the_form_is_recognised(fields, form):
    """A document is abbreviated if it has `modified` at its top and nothing only full ones have."""
    assert read(document(**fields)).form is form


# --- when it changed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "modified_at"),
    [
        (
            {"time": {"modified": "2020-01-02T03:04:05.678Z", "1.0.0": "2021-01-01"}},
            datetime(2020, 1, 2, 3, 4, 5, 678000, UTC),
        ),
        ({"modified": "2020-01-02T03:04:05Z"}, datetime(2020, 1, 2, 3, 4, 5, 0, UTC)),
        ({"modified": "2020-01-02T03:04:05+02:00"}, datetime(2020, 1, 2, 1, 4, 5, 0, UTC)),
        ({"modified": "2020-01-02T03:04:05"}, datetime(2020, 1, 2, 3, 4, 5, 0, UTC)),
        (
            {"time": {"modified": "soon", "1.0.0": "2020-01-01T00:00:00Z", "created": 7}},
            datetime(2020, 1, 1, tzinfo=UTC),
        ),
        (
            {"time": {"1.0.0": "2020-01-01T00:00:00Z", "0.9.0": "2021-01-01T00:00:00Z"}},
            datetime(2021, 1, 1, tzinfo=UTC),
        ),
        ({"modified": "0001-01-01T00:00:00+14:00"}, NOW),
        ({"time": ["2020-01-01T00:00:00Z"]}, NOW),
        ({}, NOW),
    ],
)
def test_when_a_package_changed(fields, modified_at):
    """The first there is: time.modified, modified, the latest in time, the time of fetching."""
    assert read(document(**fields)).modified_at == modified_at


def test_an_instant_is_utc():
    """The instant is aware and in UTC, also where it is the time of fetching."""
    there = timezone(timedelta(hours=3))
    found = packument.read(document(), name=UI, fetched_at=NOW.astimezone(there))
    assert found.modified_at.tzinfo is UTC


# --- questions ------------------------------------------------------------------------------------


def test_the_dist_of_a_version():
    """A version's dist is read from its manifest."""
    found = with_tarballs({"1.0.0": "https://r/ui.tgz", "2.0.0": None})
    assert packument.dist(found, "1.0.0") == Dist("1.0.0", "https://r/ui.tgz", None, None)


@pytest.mark.parametrize("version", ["2.0.0", "3.0.0"])
def test_no_dist_where_there_is_no_tarball(version):
    """A version without a tarball and a version that is not there have no dist."""
    found = with_tarballs({"1.0.0": "https://r/ui.tgz", "2.0.0": None})
    assert packument.dist(found, version) is None


@pytest.mark.parametrize(
    ("file", "version"),
    [
        ("ui-1.0.0.tgz", "1.0.0"),
        ("@acme/ui-1.0.0.tgz", "1.0.0"),
        ("download/ui-1.0.0.tgz", "1.0.0"),
        ("download/@acme/ui-1.0.0.tgz", "1.0.0"),
        ("ui-2.0.0+b.tgz", "2.0.0+b"),
        ("UI-0.1.0.tgz", "0.1.0"),
        ("old name-0.2.tar.gz", "0.2.0"),
        ("ui-0.9.9.tgz", "0.3.0"),
        ("ui-7.0.0.tgz", None),
        ("@other/ui-1.0.0.tgz", None),
        ("x/UI-0.1.0.tgz", None),
        ("../ui-1.0.0.tgz", None),
        ("", None),
    ],
)
def test_the_version_behind_a_file_name(file, version):
    """The version named by the file counts first, then the one whose address ends in it."""
    found = with_tarballs(
        {
            "1.0.0": "https://r/@acme/ui/-/ui-9.9.9.tgz",
            "2.0.0+b": "https://r/@acme/ui/-/ui-2.0.0%2Bb.tgz",
            "0.1.0": "http://r/@acme/ui/-/UI-0.1.0.tgz?cache=1#x",
            "0.2.0": "https://r/x/old%20name-0.2.tar.gz",
            "0.3.0": "https://r/x/ui-0.9.9.tgz",
            "0.4.0": None,
        }
    )
    assert packument.version_for_file(found, UI, file) == version


def test_an_unscoped_package_has_no_scope_to_double():
    """A scope in the file name of a package without one finds nothing."""
    plain = names.parse("ui")
    found = with_tarballs({"1.0.0": "https://r/ui/-/ui-1.0.0.tgz"}, plain)
    assert packument.version_for_file(found, plain, "ui-1.0.0.tgz") == "1.0.0"
    assert packument.version_for_file(found, plain, "@acme/ui-1.0.0.tgz") is None


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("1.0.0", "1.0.0"),
        ("latest", "2.0.0"),
        (" latest ", "2.0.0"),
        ("v1.0.0", "1.0.0"),
        ("=1.0.0", "1.0.0"),
        (" = v1.0.0 ", "1.0.0"),
        ("1.0.0+build", "1.0.0"),
        ("3.0.0", "3.0.0+b"),
        ("0.1.0", "v0.1.0"),
        ("gone", None),
        ("9.9.9", None),
        ("^1.0.0", None),
        ("", None),
        ("v", None),
    ],
)
def test_what_a_spec_means(spec, version):
    """A version as it stands, a dist-tag, then a version as semver cleans it."""
    held = {each: {} for each in ("1.0.0", "2.0.0", "3.0.0+b", "v0.1.0", "+odd")}
    tags = {"latest": "2.0.0", "gone": "8.0.0", "1.0.0": "2.0.0"}
    found = read(document(versions=held, dist_tags=tags))
    assert packument.resolve(found, spec) == version


# --- versions without a hash ----------------------------------------------------------------------

SHASUM = "0123456789abcdef0123456789abcdef01234567"


def test_what_a_tag_points_to_is_hashed_first_then_the_newest():
    """Unhashed versions come in the order in which they are wanted; those with a hash do not."""
    plain = {"dist": {"tarball": "u"}}
    hashed = {"dist": {"tarball": "u", "shasum": SHASUM}}
    versions = dict.fromkeys(["1.0.0", "1.0.1", "1.0.2", "1.0.3"], plain) | {"1.0.4": hashed}
    body = document(versions=versions, dist_tags={"latest": "1.0.1", "next": "1.0.4"})

    judged = packument.judge(body, name=UI, fetched_at=NOW)

    assert [each.version for each in judged.unhashed] == ["1.0.1", "1.0.3", "1.0.2", "1.0.0"]


@given(packuments(), st.data())
def test_a_document_is_judged_as_it_is_read(sample, data):
    """Whole or cut, a document that is judged has the form and time it is read with, or neither."""
    length = data.draw(st.sampled_from([len(sample.body), len(sample.body) // 2]))
    body = sample.body[:length].replace(b'"latest"', b'"modified"', 1)

    def outcome(take):
        try:
            found = take(body, name=sample.name, fetched_at=NOW)
        except Malformed as error:
            return type(error), error.reason
        return found.form, found.modified_at

    assert outcome(packument.judge) == outcome(packument.read)


@pytest.mark.parametrize("versions", [{}, [], None, {"1.0.0": 7}, {"1.0.0": {"dist": "u"}}])
def test_odd_versions_are_judged_as_they_are_read(versions):
    """No versions, or none that are an object, are refused alike; an odd manifest is let be."""
    body = document(versions=versions, time={"unpublished": {}} if versions == [] else None)
    outcomes = []
    for take in (packument.judge, packument.read):
        try:
            outcomes.append(take(body, name=UI, fetched_at=NOW).form)
        except Malformed as error:
            outcomes.append((type(error), error.reason))

    assert outcomes[0] == outcomes[1]


@given(packuments(), st.data())
def test_shasums_are_all_that_is_stated(sample, data):
    """A document with shasums for some versions differs by them alone, to the byte."""
    versions = data.draw(st.lists(st.sampled_from(sample.versions), unique=True))

    stated = packument.with_shasums(sample.body, dict.fromkeys(versions, SHASUM))

    assert stated.replace(b',"shasum":"%b"' % SHASUM.encode(), b"") == sample.body
    found = {version: packument.dist(read(stated, sample.name), version) for version in versions}
    assert all(each is not None and each.shasum == SHASUM for each in found.values())


def test_half_an_emoji_does_not_keep_a_shasum_out():
    """A document that is read tolerantly is given its shasums as it was read."""
    body = document(versions={"1.0.0": {"dist": {"tarball": "u"}}})
    halved = body.replace(b'{"name"', b'{"readme":"\\ud83d","name"')

    stated = packument.with_shasums(halved, {"1.0.0": SHASUM})

    assert packument.dist(read(stated), "1.0.0") == Dist("1.0.0", "u", None, SHASUM)
