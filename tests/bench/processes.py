"""What a process and its descendants have used, from /proc (proc(5))."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
STOP_SECONDS = 15
SETTLE_SECONDS, LOOK_SECONDS = 60, 0.1


@dataclass(frozen=True, slots=True)
class Use:
    """Of a family of processes: how many, CPU seconds in all, and the sum of peak memory."""

    processes: int
    cpu_seconds: float
    peak_bytes: int


def use(pid: int) -> Use:
    """Measure `pid` and all that descend from it and live."""
    members = family(pid)
    return Use(
        processes=len(members),
        cpu_seconds=sum(_cpu_seconds(member) for member in members),
        peak_bytes=sum(_status_bytes(member, "VmHWM:") for member in members),
    )


def family(pid: int) -> list[int]:
    """Return `pid` and its descendants."""
    parents = {int(path.name): _stat(int(path.name))[1] for path in PROC.glob("[0-9]*")}
    members = [pid]
    for member in members:
        members.extend(child for child, parent in parents.items() if parent == str(member))
    return members


def resident_bytes(pid: int) -> int:
    """VmRSS: the memory that is resident now, what is shared with others included."""
    return _status_bytes(pid, "VmRSS:")


def share_bytes(pids: Sequence[int]) -> int:
    """The sum of PSS: what is shared counts in equal parts for those who share it."""
    return sum(_field(PROC / str(pid) / "smaps_rollup", "Pss:") for pid in pids)


def settle(pid: int) -> None:
    """Wait until a family of processes hardly works any more, or give up.

    A server goes on with answers whose readers have left, and would take from whoever is next.
    """
    limit = time.monotonic() + SETTLE_SECONDS
    before = use(pid).cpu_seconds
    while time.monotonic() < limit:
        time.sleep(LOOK_SECONDS)
        now = use(pid).cpu_seconds
        if now - before < 0.2 * LOOK_SECONDS:
            return
        before = now


@contextmanager
def running(
    argv: Sequence[str], log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; what it prints goes to `log`."""
    with log.open("ab") as sink:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env, cwd=log.parent
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def python(*arguments: str) -> list[str]:
    """The command line of a module of ours."""
    return [sys.executable, "-m", *arguments]


def _stat(pid: int) -> list[str]:
    """Return the fields of stat after the name, which may hold spaces; nothing of a dead one."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0", *["0"] * 20]


def _cpu_seconds(pid: int) -> float:
    """User and system time, its own and that of children it has waited for (fields 14 to 17)."""
    return sum(int(ticks) for ticks in _stat(pid)[11:15]) / _TICKS


def _status_bytes(pid: int, label: str) -> int:
    return _field(PROC / str(pid) / "status", label)


def _field(file: Path, label: str) -> int:
    """Read one line of a file of /proc, in kB; 0 of a dead process."""
    try:
        lines = file.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(label)), 0)
