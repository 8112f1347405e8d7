"""What a disk may hold after the power has failed: a recorder of system calls, and a replayer.

    Process(..., prefix=recorder(traces))      runs it, and notes every write, sync and name
    for event in events(traces): disk.do(event)
    disk.after(chance)                         the files that may be left if it fails now

The recorder is strace. The model is stricter than ext4 and xfs are: what was synced is there; of
each other write nothing, all, or its first sectors are there, whatever came before or after it; a
name is there if its folder was synced since, and of the other changes of names an early part is.
What is written through mapped memory is not seen: SQLite's index of its log, which it makes anew.
"""

from __future__ import annotations

import codecs
import os
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "openat,pwrite64,write,writev,sendto,ftruncate,fsync,fdatasync,rename,renameat,renameat2,"
    "unlink,unlinkat,link,linkat,mkdir,mkdirat"
)
_SECTOR_BYTES = 512
_LINE = re.compile(r"([0-9.]+) (\w+)\((.*)\) += (-?[0-9]+)")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"-?\w+<([^>]*)>")


@dataclass(frozen=True)
class Event:
    """A call that succeeded. `path` is absolute; `data` is what was written, or the other name."""

    call: str
    path: str
    data: bytes = b""
    number: int = 0  # an offset, or a length


def recorder(folder: Path) -> tuple[str, ...]:
    """What to put before a command, so that its calls come to be in `folder`."""
    folder.mkdir()
    return (
        *("strace", "-D", "-ff", "-q", "-ttt", "-y", "-xx", "-s", "10000000"),
        *("-e", "signal=none", "-e", f"trace={CALLS}", "-o", str(folder / "trace")),
    )


def has_ended(folder: Path) -> bool:
    """Whether all that was recorded is there: strace outlives whom it looks at."""
    return all(trace.read_bytes().endswith(b"+++\n") for trace in folder.iterdir())


def events(folder: Path) -> list[Event]:
    """The calls of all threads, in the order they began."""
    found: list[tuple[float, Event]] = []
    for trace in folder.iterdir():
        with trace.open() as lines:
            for line in lines:
                match = _LINE.match(line)
                if match and int(match[4]) >= 0:
                    found.extend((float(match[1]), each) for each in _read(match))
    return [event for _, event in sorted(found, key=lambda pair: pair[0])]


def _read(match: re.Match[str]) -> Iterator[Event]:
    _, call, given, result = match.groups()
    texts = [codecs.escape_decode(text)[0] for text in _TEXT.findall(given)]
    held = [_plain(path) for path in _DESCRIPTOR.findall(given)]
    match call.removesuffix("at").removesuffix("at2").removesuffix("64"):
        case "open" if "O_CREAT" in given:
            yield Event("create", os.fsdecode(texts[0]), number="O_TRUNC" in given)
        case "pwrite":
            yield Event("write", held[0], texts[0][: int(result)], int(given.rpartition(", ")[2]))
        case "write" | "writev" | "sendto":
            yield Event("send", held[0], b"".join(texts))
        case "ftruncate":
            yield Event("truncate", held[0], number=int(given.rpartition(", ")[2]))
        case "fsync" | "fdatasync":
            yield Event("sync", held[0])
        case "rename" | "link" as name:
            yield Event(name, os.fsdecode(texts[0]), texts[1])
        case "unlink" | "mkdir" as name:
            yield Event(name, os.fsdecode(texts[0]))


def _plain(path: str) -> str:
    return os.fsdecode(codecs.escape_decode(path.encode())[0])


@dataclass(eq=False)
class _File:
    """What was written to a file, whatever its names are; `synced` of it is on the disk."""

    base: bytes = b""
    writes: list[Event] = field(default_factory=list)
    synced: int = 0

    def content(self, chance: random.Random, keep: float) -> bytes:
        data = bytearray(self.base)
        for number, event in enumerate(self.writes):
            if number < self.synced or chance.random() < keep:
                _apply(data, event, len(event.data))
            elif event.call == "write" and chance.random() < 0.3:
                _apply(data, event, len(event.data) // 2 // _SECTOR_BYTES * _SECTOR_BYTES)
        return bytes(data)


@dataclass(frozen=True)
class _Naming:
    """A change of names: `path` is now `file`, a folder (True) or nothing; `gone` is no more."""

    path: str
    file: _File | bool | None
    gone: str | None = None

    def folders(self) -> set[str]:
        return {str(Path(path).parent) for path in (self.path, self.gone) if path}


class Disk:
    """A folder as it was, and what a process has done to it since."""

    def __init__(self, before: Mapping[str, bytes]) -> None:
        self._start = {path: _File(data) for path, data in before.items()}
        self._now: dict[str, _File | bool] = {**self._start}
        self._namings: list[tuple[_Naming, bool]] = []

    def do(self, event: Event) -> None:
        """Take in one more call."""
        file = self._now.get(event.path)
        match event.call:
            case "create" if file is None:
                self._name(_Naming(event.path, _File()))
            case "create" if event.number and isinstance(file, _File):
                file.writes.append(Event("truncate", event.path))
            case "write" | "truncate" if isinstance(file, _File):
                file.writes.append(event)
            case "sync" if isinstance(file, _File):
                file.synced = len(file.writes)
            case "sync":
                self._namings = [
                    (naming, is_synced or event.path in naming.folders())
                    for naming, is_synced in self._namings
                ]
            case "mkdir":
                self._name(_Naming(event.path, True))
            case "unlink":
                self._name(_Naming(event.path, None))
            case "rename" if file is not None:
                self._name(_Naming(os.fsdecode(event.data), file, gone=event.path))
            case "link" if file is not None:
                self._name(_Naming(os.fsdecode(event.data), file))

    def after(self, chance: random.Random) -> dict[str, bytes]:
        """The files a power cut may leave, by path."""
        keep = chance.choice([0.0, 0.5, 0.9, 1.0])
        loose = [number for number, (_, is_synced) in enumerate(self._namings) if not is_synced]
        kept = set(loose[: chance.randint(0, len(loose))])
        left: dict[str, _File | bool] = {**self._start}
        for number, (naming, is_synced) in enumerate(self._namings):
            if is_synced or number in kept:
                _apply_name(left, naming)
        return {
            path: file.content(chance, keep)
            for path, file in left.items()
            if isinstance(file, _File)
        }

    def _name(self, naming: _Naming) -> None:
        self._namings.append((naming, False))
        _apply_name(self._now, naming)


def _apply_name(names: dict[str, _File | bool], naming: _Naming) -> None:
    if naming.gone is not None:
        names.pop(naming.gone, None)
    if naming.file is None:
        names.pop(naming.path, None)
    else:
        names[naming.path] = naming.file


def _apply(data: bytearray, event: Event, length: int) -> None:
    if event.call == "truncate":
        del data[event.number :]
        data.extend(bytes(event.number - len(data)))
    elif length:
        data.extend(bytes(max(event.number - len(data), 0)))
        data[event.number : event.number + length] = event.data[:length]


def files(folder: Path) -> dict[str, bytes]:
    """What is below a folder, as `Disk` begins with it."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rebuild(target: Path, source: Path, left: Mapping[str, bytes]) -> None:
    """Write to `target` what is left of `source`."""
    for path, data in left.items():
        if Path(path).is_relative_to(source):
            place = target / Path(path).relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
