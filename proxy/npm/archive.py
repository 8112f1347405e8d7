"""The inside of an npm tarball, read strictly as its bytes go by.

Readers of tar disagree about odd archives, and what two readers see differently can be shown to one
and installed by the other. So this one knows little and refuses the rest: one gzip member; ustar
headers; names longer than a header in a pax `path` or a GNU long name; regular files and folders,
all under one top folder (npm takes off the first folder, whatever it is called). Nothing is written
anywhere: package.json and the readme are kept, both bounded, everything else is counted.

Where npm's reader is lenient about the end, so is this one: the two empty blocks may be missing,
and more of them may follow. Source: POSIX.1-2017 pax, GNU tar's manual, node-tar.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from proxy.npm import encoding

_BLOCK_BYTES = 512
_NO_RATIO = 2000  # deflate cannot reach it: the ratio is ours to judge
_PAX_BYTES = 64 * 1024
_POSIX, _GNU = b"ustar\x0000", b"ustar  \x00"
_SUM_AT, _SUM_END = 148, 156
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_PAX_SIZE = re.compile(rb"([1-9][0-9]{0,7}) ")
_SIZE = re.compile(rb"[0-9]{1,20}")
_DRIVE = re.compile(r"[A-Za-z]:")
_PASSED_OVER = re.compile(
    r"atime|ctime|mtime|uid|gid|uname|gname|comment|charset|(SCHILY|LIBARCHIVE|APPLE|VENDOR)\..*"
)
_README = re.compile(r"readme(\.[a-z]+)?", re.IGNORECASE)
_MARKDOWN = (".md", ".markdown", ".mkd")


class BadArchive(ValueError):
    """The bytes are no npm tarball that every reader reads alike. `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may have. `ratio` counts past `ratio_free_bytes` of unpacked tar.

    Source of ratio and sizes: what PyPI's warehouse refuses.
    """

    unpacked_bytes: int = 200 * 1024 * 1024
    ratio: int = 50
    ratio_free_bytes: int = 64 * 1024 * 1024
    members: int = 100_000
    name_bytes: int = 1024
    package_json_bytes: int = 1024 * 1024
    readme_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """What a tarball holds; `unpacked_bytes` is the size of all its files.

    `readme` is the file's name and the beginning of its text. The shrinkwrap and the binding.gyp
    are those beside package.json.
    """

    package_json: bytes
    readme: tuple[str, str] | None
    file_count: int
    unpacked_bytes: int
    has_shrinkwrap: bool
    has_binding_gyp: bool


@dataclass(slots=True)
class _Entry:
    """A header, and as much of what follows it as is kept."""

    kind: bytes
    size: int
    name: bytes = b""
    keep_bytes: int = 0
    kept: bytearray = field(default_factory=bytearray)


class Reader:
    """Reads one tarball, fed in chunks cut anywhere. Raises BadArchive, and nothing else."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._gunzip = encoding.Gunzip(limit_bytes=self._limits.unpacked_bytes, max_ratio=_NO_RATIO)
        self._rest = b""
        self._entry: _Entry | None = None
        self._left = 0  # bytes of the entry still to come
        self._padding = 0
        self._long_name: bytes | None = None  # b"" after a pax header without one
        self._pax_size: int | None = None
        self._is_over = False
        self._members = 0
        self._top: str | None = None
        self._files = 0
        self._unpacked_bytes = 0
        self._package_json: bytes | None = None
        self._readme: tuple[str, bytes] | None = None
        self._beside: set[str] = set()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the tarball."""
        try:
            for piece in self._gunzip.feed(chunk):
                self._check_ratio()
                self._read(piece)
        except (encoding.BadEncoding, encoding.TooBig) as error:
            raise BadArchive(str(error)) from error

    def finish(self) -> Contents:
        """What the tarball holds."""
        try:
            self._gunzip.finish()
        except encoding.BadEncoding as error:
            raise BadArchive(str(error)) from error
        if self._rest or self._entry is not None or self._long_name is not None:
            raise BadArchive("the archive is cut short")
        if self._package_json is None:
            raise BadArchive("there is no package.json in the archive's top folder")
        return Contents(
            package_json=self._package_json,
            readme=None if self._readme is None else _text(*self._readme),
            file_count=self._files,
            unpacked_bytes=self._unpacked_bytes,
            has_shrinkwrap="npm-shrinkwrap.json" in self._beside,
            has_binding_gyp="binding.gyp" in self._beside,
        )

    # --- blocks ----------------------------------------------------------------------------------

    def _check_ratio(self) -> None:
        allowed = max(self._limits.ratio_free_bytes, self._limits.ratio * self._gunzip.taken_bytes)
        if self._gunzip.given_bytes > allowed:
            raise BadArchive(f"the archive grows more than {self._limits.ratio} times unpacked")

    def _read(self, piece: bytes) -> None:
        data = self._rest + piece
        at = 0
        while at < len(data):
            if self._entry is not None:
                at = self._body(self._entry, data, at)
            elif self._is_over:
                at = _only_zeros(data, at)
            elif len(data) - at >= _BLOCK_BYTES:
                self._header(data[at : at + _BLOCK_BYTES])
                at += _BLOCK_BYTES
            else:
                break
        self._rest = data[at:]

    def _body(self, entry: _Entry, data: bytes, at: int) -> int:
        """Take what is there of an entry's bytes and of the padding after them."""
        part = min(self._left, len(data) - at)
        if len(entry.kept) < entry.keep_bytes:
            entry.kept += data[at : at + min(part, entry.keep_bytes - len(entry.kept))]
        self._left -= part
        skipped = min(self._padding, len(data) - at - part) if not self._left else 0
        self._padding -= skipped
        self._close_if_whole(entry)
        return at + part + skipped

    def _close_if_whole(self, entry: _Entry) -> None:
        if not self._left and not self._padding:
            self._entry = None
            self._close(entry)

    def _header(self, block: bytes) -> None:
        if not any(block):
            if self._long_name is not None:
                raise BadArchive("a long name stands before the end of the archive")
            self._is_over = True
            return
        entry = _entry(block)
        self._members += 1
        if self._members > self._limits.members:
            raise BadArchive(f"the archive has more than {self._limits.members} members")
        self._open(entry)
        self._entry = entry
        self._left = entry.size
        self._padding = -entry.size % _BLOCK_BYTES
        self._close_if_whole(entry)

    # --- entries ---------------------------------------------------------------------------------

    def _open(self, entry: _Entry) -> None:
        """Decide what of an entry is kept."""
        match entry.kind:
            case b"x" | b"g":
                self._open_name(entry, _PAX_BYTES)
            case b"L":
                self._open_name(entry, self._limits.name_bytes + 1)
            case b"0" | b"\0" | b"5":
                self._open_member(entry)
            case _:
                raise BadArchive(f"neither a file nor a folder: an entry of type {entry.kind!r}")

    def _open_name(self, entry: _Entry, limit_bytes: int) -> None:
        if self._long_name is not None:
            raise BadArchive("several headers with a long name stand before one file")
        if entry.size > limit_bytes:
            raise BadArchive(f"a header with a long name has more than {limit_bytes} bytes")
        entry.keep_bytes = entry.size

    def _open_member(self, entry: _Entry) -> None:
        if self._long_name is not None:
            entry.name, self._long_name = self._long_name or entry.name, None
        if self._pax_size not in {None, entry.size}:
            # nothing under our limit needs a size that the header has no room for
            raise BadArchive("a pax header gives another size than the header")
        self._pax_size = None
        is_folder = entry.kind == b"5"
        parts = self._parts(entry.name, is_folder=is_folder)
        if is_folder and entry.size:
            raise BadArchive("a folder has bytes of its own")
        if not is_folder:
            self._open_file(entry, parts)

    def _parts(self, raw: bytes, *, is_folder: bool) -> list[str]:
        """The checked pieces of a member's name, without the top folder."""
        if len(raw) > self._limits.name_bytes:
            raise BadArchive(f"a name is longer than {self._limits.name_bytes} bytes")
        name = _decoded(raw)
        parts = (name.removesuffix("/") if is_folder else name).split("/")
        problem = _name_problem(parts)
        if problem is None and len(parts) == 1 and not is_folder:
            problem = "a file stands outside the top folder"
        if problem is None and parts[0] != (self._top or parts[0]):
            problem = "there are several top folders"
        if problem is not None:
            raise BadArchive(f"{problem}: {name[:100]!r}")
        self._top = parts[0]
        inner = parts[1:]
        _check_package_json(inner, is_folder=is_folder)
        return inner

    def _open_file(self, entry: _Entry, parts: list[str]) -> None:
        self._files += 1
        self._unpacked_bytes += entry.size
        if self._unpacked_bytes > self._limits.unpacked_bytes:
            raise BadArchive(f"the files have more than {self._limits.unpacked_bytes} bytes")
        if len(parts) > 1:
            return
        entry.name = parts[0].encode()
        self._beside.add(_folded(parts[0]))
        if parts == ["package.json"]:
            self._open_package_json(entry)
        elif _README.fullmatch(parts[0]) and self._is_better_readme(parts[0]):
            entry.keep_bytes = self._limits.readme_bytes

    def _open_package_json(self, entry: _Entry) -> None:
        if self._package_json is not None:
            raise BadArchive("there are two files package.json")
        if entry.size > self._limits.package_json_bytes:
            raise BadArchive(f"package.json is larger than {self._limits.package_json_bytes} bytes")
        entry.keep_bytes = entry.size

    def _is_better_readme(self, name: str) -> bool:
        """The first readme counts, except that one in Markdown is preferred, as npm does."""
        held = None if self._readme is None else self._readme[0]
        return held is None or (_is_markdown(name) and not _is_markdown(held))

    def _close(self, entry: _Entry) -> None:
        """Take what was kept of an entry."""
        data = bytes(entry.kept)
        if entry.kind == b"x":
            self._long_name, self._pax_size = _pax(data, is_global=False)
        elif entry.kind == b"g":
            _pax(data, is_global=True)
        elif entry.kind == b"L":
            self._long_name = data.removesuffix(b"\0") or b"\0"
        elif entry.name == b"package.json" and entry.kind != b"5":
            self._package_json = data
        elif entry.keep_bytes:
            self._readme = (entry.name.decode(), data)


def _entry(block: bytes) -> _Entry:
    """Read a header."""
    magic = block[257:265]
    if magic not in {_POSIX, _GNU}:
        raise BadArchive("a header is not one of a ustar archive")
    written = block[:_SUM_AT] + b" " * (_SUM_END - _SUM_AT) + block[_SUM_END:]
    if _number(block[_SUM_AT:_SUM_END]) != sum(written):
        raise BadArchive("the checksum of a header is wrong")
    name, prefix = _string(block[:100]), block[345:500]
    if magic == _GNU and any(prefix):
        raise BadArchive("a header has fields that readers take for different things")
    prefix = _string(prefix)
    full = prefix + b"/" + name if prefix else name
    return _Entry(kind=block[156:157], size=_number(block[124:136]), name=full)


def _number(digits: bytes) -> int:
    found = _OCTAL.fullmatch(digits)
    if found is None:
        raise BadArchive("a number in a header is not octal")
    return int(found[1], 8)


def _string(data: bytes) -> bytes:
    text, _, rest = data.partition(b"\0")
    if any(rest):
        raise BadArchive("a name in a header goes on after its end")
    return text


def _pax(data: bytes, *, is_global: bool) -> tuple[bytes, int | None]:
    """The `path` (b"" for none) and the `size` in a pax header; what else matters is refused."""
    name, size = b"", None
    while data:
        key, value, data = _pax_record(data)
        if key == "path" and not is_global and value and not name:
            name = value
        elif key == "size" and not is_global and _SIZE.fullmatch(value) and size is None:
            size = int(value)
        elif not _PASSED_OVER.fullmatch(key):
            raise BadArchive(f"a pax header sets what it may not set here: {key[:100]!r}")
    return name, size


def _pax_record(data: bytes) -> tuple[str, bytes, bytes]:
    """The key and the value of the first record, and the records after it."""
    found = _PAX_SIZE.match(data)
    size = 0 if found is None else int(found[1])
    record = data[:size]
    if found is None or len(record) < size or not record.endswith(b"\n"):
        raise BadArchive("a pax header cannot be read")
    key, equals, value = record[found.end() : -1].partition(b"=")
    if not equals:
        raise BadArchive("a pax header cannot be read")
    return _decoded(key), value, data[size:]


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadArchive(f"a name is not UTF-8: {raw[:100]!r}") from error


def _name_problem(parts: list[str]) -> str | None:
    if any(part in {"", ".", ".."} for part in parts):
        return "a name is absolute, or has a part that is empty, '.' or '..'"
    if any(code < " " or code in "\x7f\\" for part in parts for code in part):
        return "a name has a backslash or a control character"
    return "a name begins with a drive" if any(map(_DRIVE.match, parts[:2])) else None


def _check_package_json(parts: list[str], *, is_folder: bool) -> None:
    """Refuse what is, or makes a folder of, package.json where upper and lower case are one."""
    if not parts or _folded(parts[0]) != "package.json":
        return
    if parts != ["package.json"] or is_folder:
        raise BadArchive("on some systems another member takes the place of package.json")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _is_markdown(name: str) -> bool:
    return name.lower().endswith(_MARKDOWN)


def _only_zeros(data: bytes, at: int) -> int:
    if data.count(0, at) != len(data) - at:
        raise BadArchive("bytes follow the end of the archive")
    return len(data)


def _text(name: str, data: bytes) -> tuple[str, str]:
    """The readme as text; a character cut in two at the end is dropped."""
    return name, data.decode("utf-8", "replace").removesuffix("\ufffd")
