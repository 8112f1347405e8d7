"""What a recorded request is, and how it is kept and asked again."""

from __future__ import annotations

import pytest

from tests.bench import trace
from tests.bench.corpus import Corpus, keep, place
from tests.bench.trace import Form, Kind, Request
from tests.bench.wrk import planned


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/react", Kind.PACKUMENT, "react"),
        ("/@types%2freact", Kind.PACKUMENT, "@types/react"),
        ("/react/-/react-19.0.0.tgz", Kind.TARBALL, "react"),
        ("/@types/react/-/react-19.0.0.tgz", Kind.TARBALL, "@types/react"),
    ],
)
def test_a_path_says_what_is_asked(path, kind, name) -> None:
    """Kind and package are read from the path, however a scope is written."""
    request = Request(path)

    assert (request.kind, request.name) == (kind, name)


@pytest.mark.parametrize("form", Form)
def test_a_form_is_asked_by_accept(form) -> None:
    """The request made for a form is understood as one for that form."""
    assert trace.packument("@types/react", form).form is form


def test_a_trace_is_kept(tmp_path) -> None:
    """What was saved is loaded, further headers included."""
    requests = [Request("/a"), Request("/b", "*/*", "br", (("If-None-Match", '"1"'),))]

    trace.save(requests, tmp_path / "trace.jsonl")

    assert trace.load(tmp_path / "trace.jsonl") == requests


def test_an_answer_is_found_where_it_was_put(tmp_path) -> None:
    """A corpus lists what was kept in its folder, and has its bytes."""
    asked = [trace.packument("@a/b", form) for form in Form] + [trace.tarball("/@a/b/-/b-1.tgz")]
    for number, request in enumerate(asked):
        keep(tmp_path, request, bytes([number]) * (number + 1))
    corpus = Corpus(tmp_path)

    assert corpus.everything == asked
    assert [corpus.body(request) for request in asked] == [b"\0", b"\1\1", b"\2\2\2"]
    assert corpus.tarballs == {"/@a/b/-/b-1.tgz": 3}
    assert len({place(tmp_path, request) for request in asked}) == 3


def test_the_tarball_nearest_in_size_is_taken(tmp_path) -> None:
    """Size alone decides."""
    for size in (10, 100, 1000):
        keep(tmp_path, trace.tarball(f"/a/-/a-{size}.tgz"), b" " * size)

    assert Corpus(tmp_path).tarball_near(180).path == "/a/-/a-100.tgz"


def test_a_plan_has_a_line_for_each_request() -> None:
    """Path first, then header after header, with tabs between: header values hold no tab."""
    plan = planned([Request("/a", "*/*", "gzip", (("Authorization", "Bearer x"),)), Request("/b")])

    first, second = plan.splitlines()
    assert first.split("\t") == [
        *("/a", "Host", "registry.bench", "Accept", "*/*", "Accept-Encoding", "gzip"),
        *("Authorization", "Bearer x"),
    ]
    assert second.startswith("/b\t")
