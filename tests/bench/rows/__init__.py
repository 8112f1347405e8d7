"""What can be measured, by name; `scripts/bench NAME` measures one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.bench.figures import Finding
from tests.bench.rows import cold, growth, judged, load, memory, stall, start
from tests.bench.stage import Stage

Row = Callable[[Stage], Iterator[Finding]]
"""Its docstring is what `--help` says of it."""

ROWS: Mapping[str, Row] = {
    "mixed": load.mixed,
    "crowd": load.crowd,
    "packuments": load.packuments,
    "tarballs": load.tarballs,
    "unchanged": load.unchanged,
    "judged": judged.judged,
    "first-byte": cold.first_byte,
    "cold": cold.cold,
    "warm": cold.warm,
    "memory": memory.memory,
    "stall": stall.stall,
    "growth": growth.growth,
    "start": start.start,
}
"""In the order in which they are measured and reported."""
