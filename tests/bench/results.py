"""The findings of the last run of each row, kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.figures import Finding


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one row, and when; a quick run shows that a row works, and little more.

    `busy` is how many other processes wanted a core when the run began (the load average).
    """

    findings: Sequence[Finding]
    measured_at: datetime
    is_quick: bool
    busy: float


def save(
    folder: Path, row: str, findings: Iterable[Finding], *, is_quick: bool, busy: float
) -> None:
    """Keep the findings of a row instead of those of its last run."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_quick": is_quick,
        "busy": busy,
        "findings": [finding.as_json() for finding in findings],
    }
    (folder / f"{row}.json").write_text(json.dumps(plain, indent=1, ensure_ascii=False))


def load(folder: Path, row: str) -> Result | None:
    """What was kept of a row, if anything."""
    file = folder / f"{row}.json"
    if not file.exists():
        return None
    plain = json.loads(file.read_text())
    return Result(
        findings=[Finding.from_json(each) for each in plain["findings"]],
        measured_at=datetime.fromisoformat(plain["measured_at"]),
        is_quick=plain["is_quick"],
        busy=plain["busy"],
    )
