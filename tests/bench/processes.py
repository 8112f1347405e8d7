"""What a process and its descendants have used, from /proc (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Use:
    """Of a family of processes: how many, CPU seconds in all, and the sum of peak memory."""

    processes: int
    cpu_seconds: float
    peak_bytes: int


def use(pid: int) -> Use:
    """Measure `pid` and all that descend from it and live."""
    family = _family(pid)
    return Use(
        processes=len(family),
        cpu_seconds=sum(_cpu_seconds(member) for member in family),
        peak_bytes=sum(_peak_bytes(member) for member in family),
    )


def _family(pid: int) -> list[int]:
    """Return `pid` and its descendants."""
    parents = {int(path.name): _stat(int(path.name))[1] for path in PROC.glob("[0-9]*")}
    family = [pid]
    for member in family:
        family.extend(child for child, parent in parents.items() if parent == str(member))
    return family


def _stat(pid: int) -> list[str]:
    """Return the fields of stat after the name, which may hold spaces; nothing of a dead one."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0", *["0"] * 20]


def _cpu_seconds(pid: int) -> float:
    """User and system time, its own and that of children it has waited for (fields 14 to 17)."""
    return sum(int(ticks) for ticks in _stat(pid)[11:15]) / _TICKS


def _peak_bytes(pid: int) -> int:
    """VmHWM: the most resident memory it has had."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
