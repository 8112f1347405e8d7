"""Rendering: the bytes and the tags that are sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import abbreviate, links, packument, render
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.packument import Packument
from tests.strategies import exact, packuments, replaced, selected

BASE = "http://127.0.0.1:4873"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
X = PackageName("x")
URL = "https://registry.example/x/-/x-1.0.0.tgz"
OURS = f"{BASE}/x/-/x-1.0.0.tgz"
MANIFEST = {"name": "x", "version": "1.0.0", "main": "i.js", "dist": {"tarball": URL}}


def read(body: bytes, name: PackageName = X) -> Packument:
    """Read a body that came now."""
    return packument.read(body, name=name, fetched_at=NOW)


def document(**fields: object) -> Packument:
    """A small packument of x."""
    whole = {"name": "x", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": MANIFEST}}
    return read(json.dumps(whole | fields).encode())


@given(packuments())
def test_a_full_document_changes_in_its_tarballs_only(sample):
    """Unknown fields, order and numbers survive; every dist.tarball is ours."""
    body = render.render(read(sample.body, sample.name), Form.FULL, BASE)

    expected = exact(sample.body)
    for version in sample.versions:
        ours = links.tarball_url(BASE, sample.name, version)
        expected = replaced(expected, ("versions", version, "dist", "tarball"), ours)
    assert exact(body) == expected


@given(packuments())
def test_an_abbreviated_document_selects_fields(sample):
    """Each manifest has the abbreviated fields as they were, and our tarball."""
    body = exact(render.render(read(sample.body, sample.name), Form.ABBREVIATED, BASE))

    for version in sample.versions:
        full = selected(exact(sample.body), "versions", version)
        ours = links.tarball_url(BASE, sample.name, version)
        kept = replaced(full, ("dist", "tarball"), ours)
        kept = tuple((key, value) for key, value in kept if key in abbreviate.KEYS)
        assert selected(body, "versions", version) == (*kept, ("_hasShrinkwrap", False))


@given(packuments(), st.sampled_from(Form))
def test_rendering_twice_gives_the_same(sample, form):
    """What we rendered, read and rendered again, is the same bytes: a Packhouse may ask another."""
    once = render.render(read(sample.body, sample.name), form, BASE)
    again = read(once, sample.name)
    assert again.form is form
    assert render.render(again, form, BASE) == once


def test_the_shape_of_an_abbreviated_document():
    """Name, dist-tags, modified, a complete time, versions: in this order, nothing else."""
    time = {"created": "2019-01-01T00:00:00.000Z", "1.0.0": "2020-01-01T00:00:00.000Z"}
    found = document(_id="x", time=time, readme="text")
    body = render.render(found, Form.ABBREVIATED, BASE)
    assert exact(body) == (
        ("name", "x"),
        ("dist-tags", (("latest", "1.0.0"),)),
        ("modified", "2020-01-01T00:00:00.000Z"),
        ("time", tuple(time.items())),
        (
            "versions",
            (
                (
                    "1.0.0",
                    (
                        ("name", "x"),
                        ("version", "1.0.0"),
                        ("dist", (("tarball", OURS),)),
                        ("_hasShrinkwrap", False),
                    ),
                ),
            ),
        ),
    )


@pytest.mark.parametrize(
    "time",
    [None, {}, [], "x", {"created": "2019"}, {"1.0.0": None}, {"2.0.0": "2020-01-01"}],
)
def test_an_incomplete_time_is_left_out(time):
    """A time that lacks a version is worse than none, because pnpm asks again for all of it."""
    found = document(_id="x", **({} if time is None else {"time": time}))
    assert "time" not in json.loads(render.render(found, Form.ABBREVIATED, BASE))


def test_modified_is_the_time_of_fetching_where_nothing_is_known():
    """An abbreviated document always says when it changed, to the millisecond."""
    body = json.loads(render.render(document(_id="x"), Form.ABBREVIATED, BASE))
    assert body["modified"] == "2026-01-02T03:04:05.000Z"


def test_odd_dist_tags_pass_in_both_forms():
    """Tags that are no strings are the uplink's affair; the documents carry them on."""
    tags = {"latest": "1.0.0", "odd": 7}
    found = read(json.dumps({"name": "x", "dist-tags": tags, "versions": {"1": {}}}).encode())
    for form in Form:
        assert json.loads(render.render(found, form, BASE))["dist-tags"] == tags


def test_a_document_without_dist_tags_has_empty_ones_when_abbreviated():
    """Installers read dist-tags without asking whether they are there."""
    found = read(b'{"name":"x","versions":{"1.0.0":{}}}')
    assert json.loads(render.render(found, Form.ABBREVIATED, BASE))["dist-tags"] == {}


@pytest.mark.parametrize("form", Form)
def test_an_abbreviated_document_is_copied(form):
    """What came abbreviated is passed on as it is, with our tarballs, whatever is asked for."""
    found = document(modified="2020-01-01T00:00:00.000Z", unknown=1)
    body = json.loads(render.render(found, form, BASE))
    assert list(body) == ["name", "dist-tags", "versions", "modified", "unknown"]
    assert body["versions"]["1.0.0"] == MANIFEST | {"dist": {"tarball": OURS}}


def test_a_manifest_is_whole():
    """One version's manifest has all its fields and our tarball."""
    body = render.manifest(document(), "1.0.0", BASE)
    assert json.loads(body) == MANIFEST | {"dist": {"tarball": OURS}}


def test_a_manifest_of_no_version_is_a_key_error():
    """Asking for a version that is not there is a mistake of the caller."""
    with pytest.raises(KeyError):
        render.manifest(document(), "2.0.0", BASE)


def test_dist_tags_alone():
    """The tags that are strings, as an object of their own."""
    tags = {"latest": "1.0.0", "odd": 7}
    found = read(json.dumps({"name": "x", "dist-tags": tags, "versions": {"1": {}}}).encode())
    assert render.dist_tags(found) == b'{"latest":"1.0.0"}'


@given(st.lists(st.text(st.characters())), st.lists(st.text(st.characters())))
def test_a_tag_stands_for_its_parts(first, second):
    """Two tags are equal exactly if their parts are; each is short, weak and plain."""
    tag = render.etag(*first)
    assert (tag == render.etag(*second)) is (first == second)
    assert len(tag) == 36 and tag.startswith('W/"') and tag.endswith('"')
    assert tag[3:-1].isalnum()


def test_parts_divided_otherwise_give_another_tag():
    """Where one part ends and the next begins counts."""
    tags = {
        render.etag("ab", "c"),
        render.etag("a", "bc"),
        render.etag("abc"),
        render.etag("abc", ""),
    }
    assert len(tags) == 4
