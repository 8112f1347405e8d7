"""The local time of the machine, as mirror rules go by it."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

_ASK = """
import sys
from datetime import datetime
from proxy.app.mirrors import LocalTime
for line in sys.stdin:
    at = datetime.fromisoformat(line.strip())
    local = at.astimezone(LocalTime())
    print(local.isoformat(), local.replace(fold=0).astimezone(at.tzinfo).isoformat())
"""


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "UTC"])
async def test_local_time_is_that_of_the_zone(zone: str) -> None:
    """Through a year of hours the machine's local time is its zone's, and leads back."""
    hours = [datetime(2026, m, d, h, tzinfo=UTC) for m in range(1, 13) for d in (1, 8, 25, 28)
             for h in range(24)]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _ASK),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"TZ": zone},
    )
    lines = "".join(f"{at.isoformat()}\n" for at in hours)
    out, _ = await process.communicate(lines.encode())

    local = [at.astimezone(ZoneInfo(zone)) for at in hours]
    assert out.decode().splitlines() == [
        f"{at.replace(fold=0).replace(tzinfo=None).isoformat()}{_offset(at)} "
        f"{at.replace(fold=0).astimezone(UTC).isoformat()}"
        for at in local
    ]


def _offset(at: datetime) -> str:
    return at.replace(fold=0).isoformat()[-6:]


_WHEN = """
import sys
from datetime import UTC, datetime
from proxy.app.mirrors import LocalTime
for text in sys.argv[1:]:
    print(datetime.fromisoformat(text).replace(tzinfo=LocalTime()).astimezone(UTC).isoformat())
"""


async def test_local_time_where_clocks_change() -> None:
    """What is passed twice is the first time; what is passed over comes an hour later."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WHEN, "2026-10-25T02:30", "2026-03-29T02:30"),
        stdout=asyncio.subprocess.PIPE,
        env={"TZ": "Europe/Berlin"},
    )
    out, _ = await process.communicate()

    assert out.decode().split() == ["2026-10-25T00:30:00+00:00", "2026-03-29T01:30:00+00:00"]
