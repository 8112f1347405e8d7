r"""The body of a PUT in one pass: the metadata is kept, attachments are decoded as they go by.

A publish is one JSON object in which the tarball stands as base64, hundreds of megabytes in one
string. The splitter follows the JSON as far as it must to know where it is:

- outside strings it goes from bracket to bracket; commas and colons count only where a key may be
  `_attachments`, an attachment's own key, or `data`;
- the string at `["_attachments"][key]["data"]` is handed on decoded, and `""` takes its place;
- every other byte is copied to the metadata as it came.

So the metadata is sound JSON exactly if the body was, and whoever reads it finds out; the splitter
refuses only what it cannot follow. What it holds between two chunks is the metadata, and less than
one group of four characters or one escape (`\u002b`) of the attachment.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from proxy.npm import wire

METADATA_BYTES = 16 * 1024 * 1024
BUNDLE_BYTES = 1024 * 1024
DEEPEST = 100  # objects and arrays inside one another
MOST_TOKENS = 400_000  # that the splitter stops at; a packument of 16 MiB has half of it
BUNDLE_ENDING = ".sigstore"

TARBALL = "tarball"  # the part whose limit is the caller's to say

_RAW_BUNDLE_BYTES = 2 * BUNDLE_BYTES  # as it is escaped
_LONGEST_KEY_BYTES = 4096
_WHITE = b" \t\r\n"
_OPENING = {b"}": ord("{"), b"]": ord("[")}
_TOKEN = re.compile(rb'["{}\[\],:]')
_UNINTERESTING = re.compile(rb'(?s:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+')
_IN_STRING = re.compile(rb'(?s:[^"\\]*+(?:\\.[^"\\]*+)*+)')
_SHORT_ESCAPE_BYTES, _LONG_ESCAPE_BYTES = 2, 6  # \/ and \u002f


class BadBody(ValueError):
    """The body cannot be followed, or an attachment is not what its name says. Says why."""


class TooBig(ValueError):
    """A part of the body is larger than we take. `limit_bytes` is what that `part` may have."""

    def __init__(self, part: str, limit_bytes: int) -> None:
        self.part = part
        self.limit_bytes = limit_bytes
        super().__init__(f"the {part} is larger than {limit_bytes} bytes")


@dataclass(frozen=True, slots=True)
class AttachmentPiece:
    """The next decoded bytes of the attachment with this key."""

    key: str
    data: bytes


class _Place(Enum):
    START = auto()
    BETWEEN = auto()
    KEY = auto()
    STRING = auto()
    TARBALL = auto()
    BUNDLE = auto()
    END = auto()


class Splitter:
    """Splits one body, fed in chunks cut anywhere.

    `sizes_bytes` holds the decoded size of each attachment so far, by its key. A key that ends in
    `.sigstore` is a provenance bundle, whose data is JSON text; any other is a tarball in base64.
    There may be one of each.
    """

    def __init__(
        self, *, tarball_limit_bytes: int, metadata_limit_bytes: int = METADATA_BYTES
    ) -> None:
        self.sizes_bytes: dict[str, int] = {}
        self._tarball_limit_bytes = tarball_limit_bytes
        self._metadata_limit_bytes = metadata_limit_bytes
        self._metadata = bytearray()
        self._place = _Place.START
        self._stack = bytearray()
        self._path: list[str | None] = [None, None, None]
        self._seen: set[tuple[str | None, ...]] = set()
        self._is_key_next = False
        self._is_watched = True
        self._is_escaped = False
        self._tokens = 0
        self._held = bytearray()  # a key, a bundle or the start of an escape, as it is escaped
        self._quad = b""
        self._is_padded = False
        self._steps: dict[_Place, Callable[[bytes, int], tuple[int, bytes]]] = {
            _Place.START: self._start,
            _Place.BETWEEN: self._between,
            _Place.KEY: self._key,
            _Place.STRING: self._string,
            _Place.TARBALL: self._tarball,
            _Place.BUNDLE: self._bundle,
            _Place.END: self._end,
        }

    def feed(self, chunk: bytes) -> Iterator[AttachmentPiece]:
        """Give the pieces this chunk yields, to be taken before the next chunk.

        Raises BadBody, TooBig.
        """
        at = 0
        while at < len(chunk):
            at, piece = self._steps[self._place](chunk, at)
            if piece:
                yield AttachmentPiece(self._path[1] or "", piece)

    def finish(self) -> bytes:
        """The metadata: the body with `""` for each attachment's data. Raises BadBody if cut."""
        if self._place is not _Place.END:
            raise BadBody("the body is cut short")
        return bytes(self._metadata)

    # --- one method for each place: from where on to where, and what is decoded ------------------

    def _start(self, chunk: bytes, at: int) -> tuple[int, bytes]:
        rest = chunk[at:].lstrip(_WHITE)
        if rest[:1] not in {b"", b"{"}:
            raise BadBody("the body is not a JSON object")
        if rest:
            self._place = _Place.BETWEEN
        return len(chunk) - len(rest), b""

    def _end(self, chunk: bytes, at: int) -> tuple[int, bytes]:
        if chunk[at:].strip(_WHITE):
            raise BadBody("something follows the JSON object")
        return len(chunk), b""

    def _between(self, chunk: bytes, at: int) -> tuple[int, bytes]:
        if self._is_watched:
            found = _TOKEN.search(chunk, at)
            end = len(chunk) if found is None else found.start()
        else:
            end = _end_of(_UNINTERESTING, chunk, at)
        self._keep(chunk[at : end + 1])
        if end < len(chunk):
            self._take(chunk[end : end + 1])
        return end + 1, b""

    def _string(self, chunk: bytes, at: int) -> tuple[int, bytes]:
        end, _ = self._end_of_string(chunk, at)
        self._keep(chunk[at:end])
        return end, b""

    def _key(self, chunk: bytes, at: int) -> tuple[int, bytes]:
        end, is_over = self._end_of_string(chunk, at)
        self._keep(chunk[at:end])
        if len(self._held) <= _LONGEST_KEY_BYTES:
            self._held += chunk[at:end]
        if is_over:
            self._name(_unescaped(self._held[:-1]))
        return end, b""

    def _bundle(self, chunk: bytes, at: int) -> tuple[int, bytes]:
        end, is_over = self._end_of_string(chunk, at)
        self._held += chunk[at:end]
        if len(self._held) > _RAW_BUNDLE_BYTES:
            raise TooBig("provenance bundle", BUNDLE_BYTES)
        if not is_over:
            return end, b""
        self._keep(wire.QUOTE)
        text = _unescaped(self._held[:-1])
        if text is None:
            raise BadBody("the provenance bundle is not text")
        return end, self._counted(text.encode(), BUNDLE_BYTES, "provenance bundle")

    def _tarball(self, chunk: bytes, at: int) -> tuple[int, bytes]:
        quote = chunk.find(wire.QUOTE, at)
        is_over = quote >= 0
        end = quote if is_over else len(chunk)
        text = self._plain(bytes(self._held) + chunk[at:end], is_over=is_over)
        piece = self._decoded(self._quad + text, is_over=is_over)
        if is_over:
            self._keep(wire.QUOTE)
            self._place = _Place.BETWEEN
            end += 1
        return end, self._counted(piece, self._tarball_limit_bytes, TARBALL)

    # --- where we are ----------------------------------------------------------------------------

    def _take(self, token: bytes) -> None:
        self._tokens += 1
        if self._tokens > MOST_TOKENS:
            raise BadBody(f"the metadata has more than {MOST_TOKENS} brackets, keys and values")
        match token:
            case b'"':
                self._open_string()
            case b"{" | b"[":
                self._open(token)
            case b"}" | b"]":
                self._close(token)
            case _:
                self._is_key_next = token == b"," and self._stack.endswith(b"{")

    def _open(self, bracket: bytes) -> None:
        self._stack += bracket
        if len(self._stack) > DEEPEST:
            raise BadBody(f"the metadata is nested more than {DEEPEST} deep")
        self._is_key_next = bracket == b"{"
        self._is_watched = self._may_matter()

    def _close(self, bracket: bytes) -> None:
        if self._stack.pop() != _OPENING[bracket]:
            raise BadBody("the brackets of the metadata do not match")
        self._is_key_next = False
        self._is_watched = self._may_matter()
        if not self._stack:
            self._place = _Place.END

    def _may_matter(self) -> bool:
        """Whether a key of the object we are in may lead to an attachment."""
        return self._stack == b"{" or (
            self._path[0] == "_attachments" and bytes(self._stack) in (b"{{", b"{{{")
        )

    def _open_string(self) -> None:
        self._held.clear()
        if not self._is_watched:
            self._place = _Place.STRING
        elif self._is_key_next:
            self._place = _Place.KEY
        elif self._stack == b"{{{" and self._path[2] == "data":
            self._open_attachment(self._path[1] or "")
        else:
            self._place = _Place.STRING

    def _open_attachment(self, key: str) -> None:
        is_bundle = key.endswith(BUNDLE_ENDING)
        if any(other.endswith(BUNDLE_ENDING) == is_bundle for other in self.sizes_bytes):
            raise BadBody("there may be one tarball and one provenance bundle, not more")
        self.sizes_bytes[key] = 0
        self._place = _Place.BUNDLE if is_bundle else _Place.TARBALL

    def _name(self, key: str | None) -> None:
        """Note the key of the value that follows."""
        depth = len(self._stack)
        self._path[depth - 1] = key
        if depth == 1 and key != "_attachments":
            return
        here = tuple(self._path[:depth])
        if key is None or here in self._seen:
            raise BadBody(f"the key {key!r} in _attachments occurs twice, or is not text")
        self._seen.add(here)

    # --- bytes -----------------------------------------------------------------------------------

    def _keep(self, data: bytes) -> None:
        self._metadata += data
        if len(self._metadata) > self._metadata_limit_bytes:
            raise TooBig("metadata", self._metadata_limit_bytes)

    def _counted(self, piece: bytes, limit_bytes: int, part: str) -> bytes:
        key = self._path[1] or ""
        self.sizes_bytes[key] += len(piece)
        if self.sizes_bytes[key] > limit_bytes:
            raise TooBig(part, limit_bytes)
        return piece

    def _end_of_string(self, chunk: bytes, at: int) -> tuple[int, bool]:
        """Where the string ends in this chunk, past its quote, and whether it does."""
        if self._is_escaped:
            self._is_escaped = False
            at += 1
        end = _end_of(_IN_STRING, chunk, at)
        if chunk[end : end + 1] == wire.QUOTE:
            self._place = _Place.BETWEEN
            return end + 1, True
        self._is_escaped = end < len(chunk)  # a backslash at the end of the chunk
        return len(chunk), False

    def _plain(self, text: bytes, *, is_over: bool) -> bytes:
        r"""The text without escapes; the start of one at the end of the chunk is held back."""
        self._held.clear()
        last = text.rfind(b"\\")
        if last < 0:
            return text
        size = _LONG_ESCAPE_BYTES if text[last + 1 : last + 2] == b"u" else _SHORT_ESCAPE_BYTES
        if len(text) < last + size and not is_over:
            self._held += text[last:]
            text = text[:last]
        plain = _unescaped(text)
        if plain is None or not plain.isascii():
            raise BadBody("the tarball is not in base64")
        return plain.encode()

    def _decoded(self, text: bytes, *, is_over: bool) -> bytes:
        whole = len(text) - len(text) % 4
        self._quad = text[whole:]
        pad = text.find(b"=", 0, whole)
        # each chunk is decoded alone, so what strict decoding forbids across chunks is looked at
        # here: padding anywhere but in the last two places
        is_misplaced = (self._is_padded and text) or 0 <= pad < whole - 2
        if is_misplaced or (is_over and self._quad):
            raise BadBody("the tarball is not in base64")
        self._is_padded = self._is_padded or pad >= 0
        try:
            return binascii.a2b_base64(memoryview(text)[:whole], strict_mode=True)
        except binascii.Error as error:
            raise BadBody("the tarball is not in base64") from error


def _end_of(pattern: re.Pattern[bytes], chunk: bytes, at: int) -> int:
    """Where a pattern that may match nothing ends."""
    found = pattern.match(chunk, at)
    return at if found is None else found.end()


def _unescaped(raw: bytes | bytearray) -> str | None:
    return wire.text(wire.QUOTE + raw + wire.QUOTE)
