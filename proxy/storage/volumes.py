"""A long file in one piece or in volumes of one size: written so that it can be gone on with.

    FILE               the whole; or FILE.001, FILE.002 ...: pieces that make the whole one by one
    FILE.part          the same while it is being written (FILE.001.part ...)

Theory. Whoever writes knows the length of the whole beforehand and writes the same bytes again
after a crash. So a crash leaves parts that begin rightly, and the next writer compares what it has
to write with what is there, and writes from the first byte that differs. Parts are renamed when all
of them are whole and synced, the last volume first: FILE or FILE.001 is there when everything is.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from proxy.errors import InvalidRequest, StorageFull
from proxy.storage import disk
from proxy.storage.disk import ours

SMALLEST_VOLUME_BYTES = 1024
_MOST_VOLUMES = 999
_COPY_BYTES = 1024 * 1024
_SPARE_BYTES = 1024 * 1024  # folders and the like


class BadVolumes(InvalidRequest):
    """What is at a path is not a whole file or its volumes. Facts: reason."""

    code = "E_BUNDLE"


class VolumesWriter:
    """Writes `total_bytes` to `path`, or to volumes of `volume_bytes` beside it.

    A context manager: what was not finished at its end stays, to be gone on with. Raises BadVolumes
    if something else stands there, StorageFull if there is no room. `reused_bytes` counts what did
    not have to be written.
    """

    def __init__(self, path: Path, total_bytes: int, volume_bytes: int | None = None) -> None:
        self._path = path
        self._total_bytes = total_bytes
        self._volume_bytes = volume_bytes or max(total_bytes, 1)
        self._pieces: list[_Piece] = []
        self._at = 0

    def __enter__(self) -> Self:
        paths = self._paths()
        for path in self._strangers(paths):
            raise BadVolumes(reason=f"{path} is there already: remove it, or choose another name")
        sizes = [self._volume_bytes] * (len(paths) - 1)
        sizes.append(self._total_bytes - sum(sizes))
        with ours():
            self._require_room(paths)
            self._pieces = [_Piece(*each) for each in zip(paths, sizes, strict=True)]
        return self

    def __exit__(self, *_: object) -> None:
        for piece in self._pieces:
            piece.close()

    @property
    def reused_bytes(self) -> int:
        """How much was there already."""
        return sum(piece.reused_bytes for piece in self._pieces)

    @property
    def paths(self) -> list[Path]:
        """What is written."""
        return [piece.path for piece in self._pieces]

    def write(self, chunk: bytes) -> None:
        """Write the next bytes. Raises StorageFull, StorageAway."""
        rest = memoryview(chunk)
        with ours():
            while rest:
                number, at = divmod(self._at, self._volume_bytes)
                part = rest[: self._volume_bytes - at]
                self._pieces[number].write(part, at)
                rest, self._at = rest[len(part) :], self._at + len(part)

    def finish(self) -> None:
        """Sync all of it, and give it its name."""
        if self._at != self._total_bytes:
            message = f"{self._at} bytes were written instead of {self._total_bytes}"
            raise RuntimeError(message)
        with ours():
            for piece in self._pieces:
                piece.sync()
            for piece in reversed(self._pieces):
                piece.settle()
            disk.sync_folder(self._path.parent)

    def _paths(self) -> list[Path]:
        if self._volume_bytes >= self._total_bytes:
            return [self._path]
        count = -(-self._total_bytes // self._volume_bytes)
        if count > _MOST_VOLUMES:
            raise BadVolumes(reason=f"that makes {count} volumes, and at most 999 are possible")
        return [_volume(self._path, number) for number in range(1, count + 1)]

    def _strangers(self, paths: list[Path]) -> Iterator[Path]:
        """What would be taken for a part of what is written, and is none."""
        if len(paths) > 1 and self._path.exists():
            yield self._path
        following = _volume(self._path, len(paths) + 1 if len(paths) > 1 else 1)
        if following.exists():
            yield following

    def _require_room(self, paths: list[Path]) -> None:
        held = sum(_size(each) or _size(_part(each)) for each in paths)
        status = os.statvfs(self._path.parent)
        free_bytes = status.f_bavail * status.f_frsize
        if self._total_bytes + _SPARE_BYTES - held > free_bytes:
            raise StorageFull(
                reason=f"{self._path} needs {self._total_bytes} bytes, {held} of which are there, "
                f"and {free_bytes} are free"
            )


class _Piece:
    """One volume: an unfinished part, or the finished file of an earlier run."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.reused_bytes = 0
        self._part = _part(path)
        self._fd = -1
        if not self._part.exists() and _size(path) == size_bytes:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._is_settled = True
        else:
            self._fd = _begun(self._part)
            self._is_settled = False
        self._known_bytes = os.fstat(self._fd).st_size
        self._size_bytes = size_bytes

    def write(self, data: memoryview, at: int) -> None:
        known = max(0, min(len(data), self._known_bytes - at))
        if known and os.pread(self._fd, known, at) != data[:known]:
            self._begin_anew(at)
            known = 0
        self.reused_bytes += known
        if known < len(data):
            disk.write(self._fd, bytes(data[known:]), at + known)

    def sync(self) -> None:
        """What is written survives a power cut; what an older part had beyond it goes."""
        if not self._is_settled:
            os.ftruncate(self._fd, self._size_bytes)
            os.fsync(self._fd)

    def settle(self) -> None:
        """Give it its name."""
        if not self._is_settled:
            self._part.replace(self.path)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _begin_anew(self, at: int) -> None:
        """What is there differs from here on. A finished file stays as it is until we are done."""
        self._known_bytes = at
        if not self._is_settled:
            os.ftruncate(self._fd, at)
            return
        fd = _begun(self._part)
        for start in range(0, at, _COPY_BYTES):
            disk.write(fd, os.pread(self._fd, min(_COPY_BYTES, at - start), start), start)
        self.close()
        self._fd, self._is_settled = fd, False


class Volumes:
    """Reads a file that is in one piece or in volumes, from start to end. A context manager.

    `path` is what `VolumesWriter` was given, or the first volume. Raises BadVolumes, StorageAway.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[IO[bytes]] = []
        self._number = 0
        self.size_bytes = 0

    def __enter__(self) -> Self:
        with ours():
            for path in _found(self._path):
                if not path.is_file():
                    raise BadVolumes(reason=f"{path} is not a file")
                self._files.append(path.open("rb"))
                self.size_bytes += path.stat().st_size
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def read(self, length: int) -> bytes:
        """The next `length` bytes; fewer at the end of all."""
        pieces = []
        with ours():
            while length and self._number < len(self._files):
                piece = self._files[self._number].read(length)
                if not piece:
                    self._number += 1
                length -= len(piece)
                pieces.append(piece)
        return b"".join(pieces)

    def rewind(self) -> None:
        """Begin again."""
        self._number = 0
        for file in self._files:
            file.seek(0)


class Spool:
    """A file without a name beside the others: it goes with its process. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes]
        self._size_bytes = 0

    def __enter__(self) -> Self:
        with ours():
            self._file = tempfile.TemporaryFile(dir=self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, data: bytes) -> int:
        """Keep `data`; returns where it begins."""
        at = self._size_bytes
        with ours():
            disk.write(self._file.fileno(), data, at)
        self._size_bytes += len(data)
        return at

    async def pieces(self, at: int, size_bytes: int) -> AsyncIterator[bytes]:
        """What was kept, a piece at a time."""
        for start in range(0, size_bytes, _COPY_BYTES):
            with ours():
                length = min(_COPY_BYTES, size_bytes - start)
                yield os.pread(self._file.fileno(), length, at + start)


def _found(path: Path) -> list[Path]:
    """The files that make the whole."""
    base = path.with_suffix("") if path.suffix == ".001" else path
    volumes: list[Path] = []
    while (following := _volume(base, len(volumes) + 1)).exists():
        volumes.append(following)
    if not base.exists() and not volumes:
        raise BadVolumes(reason=f"{path} is not there")
    if base.exists() and volumes:
        raise BadVolumes(reason=f"there are both {base} and {volumes[0]}: remove what is older")
    beyond = [number for number in range(1, _MOST_VOLUMES + 1) if _volume(base, number).exists()]
    if len(beyond) > len(volumes):
        raise BadVolumes(reason=f"{_volume(base, len(volumes) + 1)} is missing")
    return volumes or [base]


def _begun(part: Path) -> int:
    """A descriptor of an unfinished part, which nobody else is writing."""
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise BadVolumes(reason=f"another process is writing {part}") from error
    return fd


def _volume(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number:03}")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
