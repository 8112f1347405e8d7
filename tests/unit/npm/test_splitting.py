"""The body of a PUT: what is metadata, what is decoded, and what is refused."""

from __future__ import annotations

import base64
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import splitting, wire
from proxy.npm.splitting import BadBody, Splitter, TooBig
from tests.strategies import json_values, objects

TARBALL = bytes(range(256)) * 3
BUNDLE = '{"mediaType": "application/vnd.dev.sigstore.bundle+json", "text": "é\\n\\"/"}'
LIMIT = 10_000


def encoded(data: bytes = TARBALL) -> str:
    """The JSON token of the data in base64."""
    return json.dumps(base64.b64encode(data).decode())


def body(data: str, key: str = '"x-1.0.0.tgz"') -> bytes:
    """A publish with this token as the data of its attachment."""
    inner = f'{{"content_type": "a/b", "data": {data}, "length": 768}}'
    return f'{{"name": "x", "_attachments": {{{key}: {inner}}}, "versions": {{}}}}'.encode()


def split(
    text: bytes, *cuts: int, limit: int = LIMIT, metadata_limit: int = splitting.METADATA_BYTES
) -> tuple[bytes, dict[str, bytes]]:
    """The metadata and the attachments of a body fed in pieces that end at the cuts."""
    splitter = Splitter(tarball_limit_bytes=limit, metadata_limit_bytes=metadata_limit)
    found: dict[str, bytes] = {}
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        for piece in splitter.feed(text[start:end]):
            found[piece.key] = found.get(piece.key, b"") + piece.data
    metadata = splitter.finish()
    assert splitter.sizes_bytes == {key: len(found.get(key, b"")) for key in splitter.sizes_bytes}
    return metadata, found


def outcome(text: bytes, cuts: list[int]) -> object:
    """What splitting comes to: the parts, or the class of the error."""
    try:
        return split(text, *cuts)
    except (BadBody, TooBig) as error:
        return type(error)


def test_a_tarball_is_decoded_and_the_rest_kept():
    """The data is decoded, an empty string takes its place, and every other byte stays."""
    text = body(encoded())
    metadata, found = split(text)
    assert found == {"x-1.0.0.tgz": TARBALL}
    assert metadata == text.replace(encoded().encode(), b'""')


def test_an_empty_attachment_is_known():
    """An attachment without bytes yields none, and its size is told."""
    splitter = Splitter(tarball_limit_bytes=LIMIT)
    assert list(splitter.feed(body('""'))) == []
    assert splitter.sizes_bytes == {"x-1.0.0.tgz": 0}


def test_a_provenance_bundle_is_text():
    """The data of a key that ends in .sigstore is JSON text, not base64."""
    text = body(json.dumps(BUNDLE), key='"x-1.0.0.sigstore"')
    metadata, found = split(text)
    assert found == {"x-1.0.0.sigstore": BUNDLE.encode()}
    assert json.loads(metadata)["_attachments"]["x-1.0.0.sigstore"]["data"] == ""


def test_single_bytes_are_chunks_too():
    """Escapes in keys, bundles and base64 are understood when each byte comes alone."""
    text = b" " + body(json.dumps(BUNDLE), key='"x\\"\\u00e9.sigstore"') + b" \n"
    assert split(text, *range(1, len(text))) == split(text)
    text = body(encoded().replace("/", "\\/").replace("+", "\\u002b"))
    assert split(text, *range(1, len(text)))[1] == {"x-1.0.0.tgz": TARBALL}


def test_a_tarball_and_its_bundle_come_in_one_body():
    """Both attachments of a publish with provenance are told apart by their keys."""
    attachments = {
        "@s/x-1.0.0.sigstore": {"data": BUNDLE},
        "@s/x-1.0.0.tgz": {"data": json.loads(encoded())},
    }
    _, found = split(json.dumps({"_attachments": attachments}).encode())
    assert found == {"@s/x-1.0.0.tgz": TARBALL, "@s/x-1.0.0.sigstore": BUNDLE.encode()}


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, dict[str, bytes]]:
    """A body in any order, with any white space, escapes and decoys, and its attachments."""
    data = draw(st.binary(max_size=40))
    token = encoded(data).replace("/", draw(st.sampled_from(["/", "\\/", "\\u002f"])))
    token = token.replace("+", draw(st.sampled_from(["+", "\\u002b", "\\u002B"])))
    token = token.replace("A", draw(st.sampled_from(["A", "\\u0041"])))
    values = json_values() | st.sampled_from(
        ['"data"', '"_attachments"', '{"data":"QUJD"}', "[[]]"]
    )
    attachments = {"x.tgz": attachment(draw, token, values)}
    expected = {"x.tgz": data}
    if draw(st.booleans()):
        bundle = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
        ascii_only = draw(st.booleans())
        bundled = json.dumps(bundle, ensure_ascii=ascii_only)
        attachments["x.sigstore"] = attachment(draw, bundled, values)
        expected["x.sigstore"] = bundle.encode()
    fields = {
        "_attachments": draw(objects(attachments)),
        "data": draw(values),
        "versions": '{"_attachments": {"a": {"data": "no"}}}',
        "x": draw(values),
        "list": '[{"_attachments": {"a": {"data": "no"}}}, "\\\\", "\\"", "}"]',
    }
    order = draw(st.permutations(sorted(fields)))
    ends = st.sampled_from(["", " ", "\n\t"])
    text = draw(ends) + draw(objects({key: fields[key] for key in order})) + draw(ends)
    if draw(st.booleans()):
        text = text.replace('"_attachments"', '"\\u005fattachments"')
    return text.encode(), {key: value for key, value in expected.items() if value}


def attachment(draw: st.DrawFn, token: str, values: st.SearchStrategy[str]) -> str:
    """The text of one attachment, its data among other fields."""
    fields = {"data": token, "length": draw(values), "content_type": '"data"', "y": draw(values)}
    order = draw(st.permutations(sorted(fields)))
    return draw(objects({key: fields[key] for key in order}))


@given(bodies(), st.data())
def test_chunks_may_be_cut_anywhere(sample, data):
    """However a body is cut, its attachments and its metadata are the same, and right."""
    text, expected = sample
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    metadata, found = split(text, *cuts)
    assert found == expected
    whole = json.loads(text, strict=False)
    for each in whole["_attachments"].values():
        each["data"] = ""
    assert json.loads(metadata, strict=False) == whole


@given(bodies(), st.data())
def test_a_damaged_body_ends_alike_however_it_is_cut(sample, data):
    """With a byte lost or changed, one chunk and many come to the same parts or the same error."""
    text, _ = sample
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from([b"", b'"', b"\\", b"{", b"]", b"=", b",", b"\\u00", b"AA=="]))
    damaged = text[:at] + put + text[at + 1 :]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(damaged)), max_size=8)))
    assert outcome(damaged, cuts) == outcome(damaged, [])


@given(st.text('QUJD=\\/u0041"', max_size=24), st.integers(0, 24), st.integers(0, 24))
def test_base64_is_judged_alike_however_it_is_cut(text, first, second):
    """Padding, groups and escapes are right or wrong wherever a chunk ends."""
    whole = body(f'"{text}"')
    start = whole.index(b'"data": "') + 9
    cuts = sorted(min(start + cut, len(whole)) for cut in (first, second))
    assert outcome(whole, cuts) == outcome(whole, [])


@given(bodies(), st.data())
def test_metadata_is_sound_exactly_if_the_body_was(sample, data):
    """Splitting makes no JSON of what was none."""
    text, _ = sample
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = (
        text[:at] + data.draw(st.sampled_from([b"", b":", b"}", b'"', b",", b"{"])) + text[at:]
    )
    try:
        metadata, _ = split(damaged)
    except BadBody:
        return
    assert is_json(metadata) == is_json(damaged)


def is_json(text: bytes) -> bool:
    """Whether the whole text is JSON to a strict reader."""
    try:
        wire.loads(text)
    except wire.Undecodable:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "QUJ",
        "QUJDR",
        "QUJD=",
        "QUJD====",
        "QQ==QUJD",
        "QQ=Q",
        "Q===",
        "=QUJ",
        "====",
        "QU JD",
        "QUJD\\n",
        "QU-_",
        "QUJ\\u00e9",
        "QUJ\\ud800",
        "QUJ\\\\",
        'QUJ\\"',
        "QUJ\\x",
        "é",
    ],
)
def test_only_strict_base64_is_a_tarball(text):
    """Wrong groups, padding, alphabets and escapes are refused, whole or in single bytes."""
    whole = body(f'"{text}"')
    for cuts in ([], range(1, len(whole))):
        with pytest.raises(BadBody, match="base64"):
            split(whole, *cuts)


@pytest.mark.parametrize(
    "text",
    [
        b'{"_attachments": {}, "_attachments": {}}',
        b'{"_attachments": {}, "\\u005fattachments": {}}',
        b'{"_attachments": {"a": {"data": "", "data": ""}}}',
        b'{"_attachments": {"a": {"data": "", "dat\\u0061": ""}}}',
        b'{"_attachments": {"a": {}, "a": {}}}',
        b'{"_attachments": {"\\ud800": {}}}',
        b'{"_attachments": {"\xff": {}}}',
        b'{"_attachments": {"' + b"a" * 5000 + b'\\x": {"data": ""}}}',
    ],
)
def test_keys_that_decide_occur_once(text):
    """A key on the way to the data that occurs twice, or is no text, is refused."""
    with pytest.raises(BadBody, match="twice"):
        split(text)


@pytest.mark.parametrize("ending", ["tgz", "sigstore"])
def test_there_is_one_attachment_of_a_kind(ending):
    """A second tarball or a second bundle is refused."""
    attachments = {f"{name}.{ending}": {"data": "QUJD"} for name in "ab"}
    with pytest.raises(BadBody, match="one tarball"):
        split(json.dumps({"_attachments": attachments}).encode())


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" ", b"[]", b'"x"', b"1", b"\xef\xbb\xbf{}", b"{", b'{"a', b'{"a\\'),
        *(b'{"_attachments":{}', b"{} {}", b"{}x", b"{]", b"{[}]"),
        b'{"_attachments": {"a": {"data": "QUJD',
    ],
)
def test_what_is_not_one_whole_object_is_refused(text):
    """Another value, a cut body, brackets that do not match or bytes after the end are refused."""
    with pytest.raises(BadBody):
        split(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"_attachments": null}',
        b'{"_attachments": [{"a": {"data": "x"}}]}',
        b'{"_attachments": {"a": [{"data": "x"}]}}',
        b'{"_attachments": {"a": {"data": ["x"]}}}',
        b'{"_attachments": {"a": {"data": null}}}',
        b'{"_attachments": {"a": {"z": {"data": "x"}}}}',
        b'{"_attachments": {"a": "data"}, "b": {"a": {"data": "x"}}}',
        b'{"a": {"_attachments": {"a": {"data": "x"}}}}',
        b'{"_attachments": "data", "x": {"y": {"data": "x"}}}',
        b'{"' + b"k" * 5000 + b'": {"a": {"data": "x"}}}',
    ],
)
def test_data_elsewhere_is_metadata(text):
    """Only a string at _attachments, a key, data is an attachment; the rest is kept as it is."""
    assert split(text) == split(text, *range(1, len(text))) == (text, {})


def test_a_bundle_must_be_text():
    """A bundle whose escapes are no text is refused."""
    with pytest.raises(BadBody, match="not text"):
        split(body('"\\ud800"', key='"x.sigstore"'))


@pytest.mark.parametrize("size", [splitting.BUNDLE_BYTES + 1, 2 * splitting.BUNDLE_BYTES + 1])
def test_a_bundle_has_a_limit(size):
    """A bundle above one mebibyte is refused, decoded or while it comes."""
    with pytest.raises(TooBig) as caught:
        split(body(f'"{"x" * size}"', key='"x.sigstore"'))
    assert caught.value.limit_bytes == splitting.BUNDLE_BYTES


def test_the_largest_bundle_is_taken():
    """A bundle of one mebibyte is taken, its quotes escaped."""
    text = '"' * (splitting.BUNDLE_BYTES // 2) + "x" * (splitting.BUNDLE_BYTES // 2)
    _, found = split(body(json.dumps(text), key='"x.sigstore"'))
    assert found == {"x.sigstore": text.encode()}


def test_a_tarball_has_a_limit():
    """A tarball of the limit is taken, one byte more is refused with the limit."""
    assert split(body(encoded()), limit=len(TARBALL))[1] == {"x-1.0.0.tgz": TARBALL}
    with pytest.raises(TooBig, match="tarball") as caught:
        split(body(encoded()), limit=len(TARBALL) - 1)
    assert caught.value.limit_bytes == len(TARBALL) - 1


def test_metadata_has_a_limit():
    """The attachment's size does not count for the metadata, every other byte does."""
    text = body(encoded())
    size = len(text) - len(encoded()) + 2
    assert len(split(text, metadata_limit=size)[0]) == size
    with pytest.raises(TooBig, match="metadata"):
        split(text, metadata_limit=size - 1)


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_nesting_has_a_limit(opening, closing):
    """An object a hundred deep is followed, one deeper is refused."""
    deep = splitting.DEEPEST - 1
    text = '{"a":' + opening * deep + "1" + closing * deep + "}"
    assert split(text.encode())[0] == text.encode()
    with pytest.raises(BadBody, match="deep"):
        split(('{"a":' + opening * 1000).encode())


def test_brackets_have_a_limit():
    """A body of nothing but brackets is refused before it takes long."""
    text = b'{"a":[' + b"[]," * splitting.MOST_TOKENS
    with pytest.raises(BadBody, match="more than"):
        split(text)


def test_memory_does_not_grow_with_the_tarball():
    """Sixteen mebibytes in small chunks take less than one mebibyte of memory."""
    head, tail = body('"@"').split(b"@")
    chunk = base64.b64encode(bytes(3 * 4096))
    splitter = Splitter(tarball_limit_bytes=2**30)
    tracemalloc.start()
    for piece in (head, *[chunk] * 1024, tail):
        for _ in splitter.feed(piece):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert splitter.sizes_bytes == {"x-1.0.0.tgz": 3 * 4096 * 1024}
    assert peak < 2**20
