"""The inside of a tarball: what is read, and every odd archive that is refused."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm.archive import BadArchive, Contents, Limits, Reader

PACKAGE = b'{"name": "x", "version": "1.0.0"}'
END = bytes(1024)
POSIX, GNU = b"ustar\x0000", b"ustar  \x00"


def header(
    name: bytes,
    size: int = 0,
    kind: bytes = b"0",
    *,
    magic: bytes = POSIX,
    prefix: bytes = b"",
    size_field: bytes | None = None,
    checksum: bytes | None = None,
) -> bytes:
    """One block, its checksum right unless another is given."""
    octal = b"%011o\0" % size if size_field is None else size_field
    head = name.ljust(100, b"\0") + b"000644 \0" + b"0000000\0" * 2 + octal + b"00000000000\0"
    tail = kind + bytes(100) + magic + bytes(80) + prefix.ljust(155, b"\0") + bytes(12)
    total = b"%06o\0 " % sum(head + b" " * 8 + tail) if checksum is None else checksum
    return head + total + tail


def entry(name: bytes, data: bytes = b"", kind: bytes = b"0", **fields: object) -> bytes:
    """A header with its data and padding."""
    return header(name, len(data), kind, **fields) + data + bytes(-len(data) % 512)


def pax(**fields: str) -> bytes:
    """A pax header for the entry that follows."""
    return entry(b"PaxHeader/x", records(fields), b"x")


def records(fields: dict[str, str]) -> bytes:
    """The records of a pax header, each with its own length."""
    written = b""
    for key, value in fields.items():
        text = f" {key}={value}\n".encode()
        size = next(n for n in range(len(text), len(text) + 9) if n == len(text) + len(str(n)))
        written += str(size).encode() + text
    return written


MAIN = entry(b"package/package.json", PACKAGE)


def read(tar: bytes, limits: Limits | None = None, step: int = 70) -> Contents:
    """What a reader finds in these blocks, compressed and fed in small chunks."""
    return read_gzip(gzip.compress(tar, mtime=0), limits, step)


def read_gzip(data: bytes, limits: Limits | None = None, step: int = 70) -> Contents:
    """What a reader finds in a tarball fed in chunks."""
    reader = Reader(limits)
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
    return reader.finish()


def test_a_package_is_read():
    """package.json and the readme are kept, files and their sizes counted, folders not."""
    tar = entry(b"package/", kind=b"5") + MAIN + entry(b"package/README.md", b"# x\n")
    tar += entry(b"package/lib/package.json", b"{}") + entry(b"package/lib/a.js", b"1" * 700) + END
    assert read(tar) == Contents(PACKAGE, ("README.md", "# x\n"), 4, 739, False, False)


@pytest.mark.parametrize("step", [1, 511, 512, 513, 100_000])
def test_chunks_may_be_cut_anywhere(step):
    """The same tarball in other chunks holds the same."""
    tar = MAIN + entry(b"package/npm-shrinkwrap.json", b"{}") + entry(b"package/binding.gyp") + END
    stored = gzip.compress(tar, 0, mtime=0)
    assert read_gzip(stored, step=step) == Contents(PACKAGE, None, 3, 35, True, True)


def test_only_what_stands_beside_package_json_counts():
    """A shrinkwrap, a binding.gyp or a readme further down says nothing of the package."""
    names = (b"npm-shrinkwrap.json", b"binding.gyp", b"README.md")
    found = read(MAIN + b"".join(entry(b"package/lib/" + name) for name in names) + END)
    assert (found.has_shrinkwrap, found.has_binding_gyp, found.readme) == (False, False, None)


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (["readme"], "readme"),
        (["README.txt", "readme.md"], "readme.md"),
        (["README.MD", "README"], "README.MD"),
        (["README", "README.txt"], "README"),
        (["README.md", "readme.markdown"], "README.md"),
        (["README.md.bak", "readme-x"], None),
    ],
)
def test_the_readme_is_chosen_as_npm_does(files, kept):
    """The first readme is kept, unless a later one is in Markdown and it is not."""
    tar = MAIN + b"".join(entry(b"package/" + name.encode(), name.encode()) for name in files)
    assert read(tar).readme == (None if kept is None else (kept, kept))


def test_the_readme_is_kept_up_to_a_limit():
    """Of a long readme the beginning is kept, without the half of a character at its end."""
    tar = MAIN + entry(b"package/README", "é".encode() * 40_000)
    limits = Limits(readme_bytes=1001)
    assert read(tar, limits).readme == ("README", "é" * 500)


LONG = b"package/" + b"d/" * 100 + b"x.js"
ACCEPTED = {
    "any top folder": entry(b"x-1.0.0/package.json", PACKAGE) + END,
    "no empty blocks at the end": MAIN,
    "one empty block": MAIN + bytes(512),
    "many empty blocks": MAIN + bytes(10_240),
    "an end that is no whole block": MAIN + bytes(700),
    "the old type of a file": entry(b"package/package.json", PACKAGE, b"\0") + END,
    "a GNU header": entry(b"package/package.json", PACKAGE, magic=GNU) + END,
    "a name in two fields": entry(b"package.json", PACKAGE, prefix=b"package") + END,
    "a pax path": MAIN + pax(path=LONG.decode()) + entry(b"package/x.js") + END,
    "a pax path of package.json": pax(path="package/package.json") + entry(b"y", PACKAGE) + END,
    "a pax size that is the header's": pax(size=str(len(PACKAGE))) + MAIN + END,
    "a pax header about other things": pax(mtime="1.5", comment="é") + MAIN + END,
    "a global pax comment": entry(b"pax_global_header", records({"comment": "a"}), b"g") + MAIN,
    "a GNU long name": MAIN + entry(b"././@LongLink", LONG + b"\0", b"L") + entry(LONG[:99]) + END,
    "a long name without its zero": MAIN + entry(b"L", LONG, b"L") + entry(LONG[:99]) + END,
    "a number with spaces": header(b"package/package.json", 0, size_field=b"         41 ")
    + PACKAGE
    + bytes(512 - len(PACKAGE)),
    "a folder without a slash": entry(b"package/lib", kind=b"5") + MAIN + END,
    "names beyond ASCII": MAIN + entry("package/é ☃.js".encode()) + END,
    "a colon further down": MAIN + entry(b"package/lib/c:d") + END,
}


@pytest.mark.parametrize("tar", ACCEPTED.values(), ids=ACCEPTED)
def test_archives_of_real_tools_are_read(tar):
    """What npm, GNU tar and bsdtar write is read, and Python's tarfile finds the same in it."""
    assert read(tar).package_json == PACKAGE == elsewhere(tar)


def elsewhere(tar: bytes) -> bytes | None:
    """The last package.json under any top folder, as Python's tarfile sees it."""
    found = None
    with tarfile.open(fileobj=io.BytesIO(tar), errorlevel=2) as other:
        for member in other:
            if member.isreg() and member.name.split("/")[1:] == ["package.json"]:
                held = other.extractfile(member)
                found = None if held is None else held.read()
    return found


def damaged(old: bytes, new: bytes) -> bytes:
    """The main file with some bytes of its header replaced, its checksum left as it was."""
    return MAIN[:512].replace(old, new, 1) + MAIN[512:] + END


EVIL = b'{"name": "evil", "version": "1.0.0"}'
REFUSED = {
    "nothing": b"",
    "only an end": END,
    "no package.json": entry(b"package/x.js") + END,
    "package.json not in the top folder": entry(b"package/lib/package.json", PACKAGE) + END,
    "a file without a folder": MAIN + entry(b"x.js") + END,
    "package.json without a folder": entry(b"package.json", PACKAGE) + END,
    "two package.json": MAIN + entry(b"package/package.json", EVIL) + END,
    "package.json in another case": MAIN + entry(b"package/Package.JSON", EVIL) + END,
    "package.json in wide letters": MAIN + entry("package/\uff50ackage.json".encode(), EVIL) + END,
    "package.json as a folder": MAIN + entry(b"package/package.json/", kind=b"5") + END,
    "a file under package.json": MAIN + entry(b"package/package.json/x", EVIL) + END,
    "two top folders": MAIN + entry(b"other/x.js") + END,
    "top folders in two cases": MAIN + entry(b"Package/package.json", EVIL) + END,
    "a dot as top folder": entry(b"./package/package.json", PACKAGE) + END,
    "an absolute name": MAIN + entry(b"/etc/passwd") + END,
    "a name that leads out": MAIN + entry(b"package/../../x") + END,
    "two dots at the end": MAIN + entry(b"package/..", kind=b"5") + END,
    "a dot inside": MAIN + entry(b"package/./package.json", EVIL) + END,
    "an empty part": MAIN + entry(b"package//package.json", EVIL) + END,
    "no name": MAIN + entry(b"") + END,
    "a file with a slash at its end": MAIN + entry(b"package/x/") + END,
    "an old file with a slash": MAIN + entry(b"package/x/", kind=b"\0") + END,
    "a backslash": MAIN + entry(b"package\\package.json", EVIL) + END,
    "a backslash that leads out": MAIN + entry(b"package/..\\x") + END,
    "a drive": MAIN + entry(b"C:/x") + END,
    "a drive under the top folder": MAIN + entry(b"package/c:x") + END,
    "a control character": MAIN + entry(b"package/a\nb") + END,
    "a name that is not UTF-8": MAIN + entry(b"package/\xff") + END,
    "a hard link": MAIN + entry(b"package/x", kind=b"1") + END,
    "a symbolic link": MAIN + entry(b"package/x", kind=b"2") + END,
    "a character device": MAIN + entry(b"package/x", kind=b"3") + END,
    "a block device": MAIN + entry(b"package/x", kind=b"4") + END,
    "a pipe": MAIN + entry(b"package/x", kind=b"6") + END,
    "a contiguous file": MAIN + entry(b"package/x", kind=b"7") + END,
    "a sparse file": MAIN + entry(b"package/x", kind=b"S", magic=GNU) + END,
    "a GNU long link": MAIN + entry(b"L", b"x\0", b"K") + entry(b"package/x") + END,
    "an unknown type": MAIN + entry(b"package/x", kind=b"Q") + END,
    "a folder with bytes": MAIN + entry(b"package/lib/", entry(b"package/y"), b"5") + END,
    "a wrong checksum": damaged(b"package/", b"packagf/"),
    "a checksum of letters": entry(b"package/package.json", PACKAGE, checksum=b"zzzzzz\0 ") + END,
    "an old header": entry(b"package/package.json", PACKAGE, magic=bytes(8)) + END,
    "a size with junk": header(b"package/package.json", size_field=b"00000000009\0") + END,
    "a size in base 256": MAIN + header(b"package/x", size_field=b"\x80" + bytes(10) + b"\1"),
    "a negative size": MAIN + header(b"package/x", size_field=b"\xff" * 12) + END,
    "a size with a sign": MAIN + header(b"package/x", size_field=b"-0000000010\0") + END,
    "no size": MAIN + header(b"package/x", size_field=bytes(12)) + END,
    "junk after a name": MAIN + entry(b"package/x\0y") + END,
    "a prefix in a GNU header": MAIN + entry(b"x", magic=GNU, prefix=b"package") + END,
    "junk after a prefix": MAIN + entry(b"x", prefix=b"package\0y") + END,
    "an empty block in the middle": MAIN + bytes(512) + entry(b"package/package.json", EVIL) + END,
    "bytes after the end": MAIN + END + b"x",
    "a file cut short": MAIN + header(b"package/x", 5000) + b"x" * 600,
    "padding cut short": entry(b"package/package.json", PACKAGE)[:-10],
    "a header cut short": MAIN + header(b"package/x")[:200],
    "a pax link": MAIN + pax(linkpath="/etc/passwd") + entry(b"package/x") + END,
    "a pax sparse file": MAIN + pax(**{"GNU.sparse.major": "1"}) + entry(b"package/x") + END,
    "a pax size of its own": pax(size="512") + MAIN + END,
    "a huge pax size": pax(size="9" * 20) + MAIN + END,
    "a pax size of a thousand digits": pax(size="9" * 1000) + MAIN + END,
    "a pax size twice": pax(size="33") + pax(size="33") + MAIN + END,
    "a pax path twice": entry(b"p", records({"path": "a/b"}) * 2, b"x") + MAIN + END,
    "an empty pax path": pax(path="") + MAIN + END,
    "a pax path with a zero": pax(path="package/x\0y") + MAIN + END,
    "a pax path that leads out": MAIN + pax(path="package/../../x") + entry(b"package/x") + END,
    "a pax header without a file": MAIN + pax(path="package/x") + END,
    "a pax header at the very end": MAIN + pax(path="package/x"),
    "two pax headers": pax(path="package/x") + pax(comment="x") + MAIN + END,
    "a pax header and a long name": MAIN
    + pax(mtime="1")
    + entry(b"L", b"a\0", b"L")
    + entry(b"a/b"),
    "a long name and a pax header": MAIN
    + entry(b"L", b"package/x\0", b"L")
    + pax(mtime="1")
    + MAIN,
    "a global pax path": entry(b"g", records({"path": "package/y"}), b"g") + MAIN + END,
    "a global pax size": entry(b"g", records({"size": "33"}), b"g") + MAIN + END,
    "a pax record without a length": entry(b"p", b"path=a\n", b"x") + MAIN + END,
    "a pax record with a long length": entry(b"p", b"9" * 1000 + b" path=a\n", b"x") + MAIN + END,
    "a pax record cut short": entry(b"p", b"20 path=a\n", b"x") + MAIN + END,
    "a pax record without an end": entry(b"p", b"10 path=ab", b"x") + MAIN + END,
    "a pax record without a value": entry(b"p", b"8 path1\n", b"x") + MAIN + END,
    "a pax record with length nought": entry(b"p", b"0 path=a\n", b"x") + MAIN + END,
    "a pax key that is not UTF-8": entry(b"p", b"6 \xff=a\n", b"x") + MAIN + END,
    "a pax header too large": entry(b"p", records({"comment": "x" * 70_000}), b"x") + MAIN + END,
    "an empty long name": MAIN + entry(b"L", b"\0", b"L") + entry(b"package/x") + END,
    "a long name with a zero inside": MAIN + entry(b"L", b"a/b\0c\0", b"L") + entry(b"a/b") + END,
    "a long name too long": MAIN + entry(b"L", b"a/" * 600, b"L") + entry(b"package/x") + END,
    "a pax path too long": MAIN + pax(path="package/" + "x" * 1020) + entry(b"package/x") + END,
    "a package.json too large": entry(b"package/package.json", b" " * (2**20 + 1)) + END,
}


@pytest.mark.parametrize("tar", REFUSED.values(), ids=REFUSED)
def test_odd_archives_are_refused(tar):
    """What readers could take for different things, or clients could be harmed by, is refused."""
    with pytest.raises(BadArchive) as caught:
        read(tar)
    assert caught.value.reason == str(caught.value) != ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAIN + END,
        gzip.compress(MAIN + END, mtime=0)[:-1],
        gzip.compress(MAIN + END, mtime=0)[:-8] + bytes(8),
        gzip.compress(MAIN + END, mtime=0) + b"x",
        gzip.compress(MAIN, mtime=0) + gzip.compress(END, mtime=0),
        zlib.compress(MAIN + END),
    ],
)
def test_only_one_whole_gzip_body_is_read(data):
    """What is not compressed, cut, damaged, or followed by bytes or a second body is refused."""
    with pytest.raises(BadArchive):
        read_gzip(data)


def test_files_have_a_limit_together():
    """The sizes that headers promise are added up before the bytes come."""
    tar = MAIN + header(b"package/x", 10_000)
    with pytest.raises(BadArchive, match="10000 bytes"):
        read(tar, Limits(unpacked_bytes=10_000))


def test_the_unpacked_archive_has_a_limit():
    """Headers, padding and empty blocks count too."""
    with pytest.raises(BadArchive, match="20000 bytes"):
        read(MAIN + bytes(20_000), Limits(unpacked_bytes=20_000))


def test_members_have_a_limit():
    """One member more than allowed is one too many."""
    tar = MAIN + entry(b"package/a") + entry(b"package/b")
    assert read(tar, Limits(members=3)).file_count == 3
    with pytest.raises(BadArchive, match="members"):
        read(tar, Limits(members=2))


def test_growth_has_a_limit_past_a_free_size():
    """What grows fifty times is refused once it is large, and taken while it is small."""
    limits = Limits(ratio_free_bytes=2**20)
    assert read(MAIN + bytes(2**19), limits).file_count == 1
    with pytest.raises(BadArchive, match="50 times"):
        read(MAIN + bytes(2**21), limits)


def test_a_bomb_takes_no_memory():
    """Two hundred mebibytes of zeros in one file end early and cost less than four mebibytes."""
    bomb = header(b"package/x", 190 * 2**20)
    engine = zlib.compressobj(9, wbits=31)
    data = engine.compress(bomb) + b"".join(engine.compress(bytes(2**20)) for _ in range(190))
    data += engine.flush()
    tracemalloc.start()
    with pytest.raises(BadArchive, match="50 times"):
        read_gzip(data, step=2**16)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


@given(st.binary(max_size=600), st.booleans())
def test_wild_bytes_are_a_bad_archive(data, is_packed):
    """Bytes of any sort raise BadArchive, and nothing else."""
    with pytest.raises(BadArchive):
        read_gzip(gzip.compress(data) if is_packed else data)


@given(
    st.sampled_from(sorted(ACCEPTED)),
    st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_damaged_archive_is_refused_or_read_as_others_read_it(which, changes, is_mended):
    """With bytes changed, checksums mended or not, what is accepted reads alike elsewhere."""
    tar = bytearray(ACCEPTED[which])
    for at, value in changes:
        tar[at % len(tar)] = value
    if is_mended:
        for at in range(0, len(tar) - 511, 512):
            if tar[at + 257 : at + 262] == b"ustar":
                tar[at + 148 : at + 156] = b" " * 8
                tar[at + 148 : at + 156] = b"%06o\0 " % sum(tar[at : at + 512])
    with contextlib.suppress(BadArchive):
        found = read(bytes(tar), step=10_000)
        with contextlib.suppress(tarfile.TarError):
            assert elsewhere(bytes(tar)) == found.package_json


@given(st.binary(min_size=1, max_size=400), st.sampled_from([b"x", b"g", b"L"]))
def test_wild_extension_headers_never_fail_otherwise(data, kind):
    """A header of any bytes before a file is read or a BadArchive."""
    with contextlib.suppress(BadArchive):
        assert read(entry(b"p", data, kind) + MAIN + END).package_json == PACKAGE
