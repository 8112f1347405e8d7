"""Puts the last run into docs/performance.md, between two marks, and its chart beside it."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.bench import chart, table
from tests.bench.results import Result

BEGIN, END = "<!-- what follows is written by scripts/bench -->", "<!-- up to here -->"
PACKAGES = ("aiohttp", "uvloop", "apsw", "isal")


def write(page: Path, results: Sequence[Result], versions: dict[str, str]) -> None:
    """Replace what stands between the marks, and the chart."""
    findings = [finding for result in results for finding in result.findings]
    page.with_suffix(".svg").write_text(chart.svg(findings, "mixed"))
    text = between(results, machine(), versions) + table.markdown(findings)
    page.write_text(replaced(page.read_text(), text))


def replaced(page: str, text: str) -> str:
    """Return a page with another text between the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"the page has lost its marks, {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def between(results: Sequence[Result], where: str, versions: dict[str, str]) -> str:
    """Say when and where it was measured, with what, and how the table reads."""
    days = sorted({result.measured_at.date().isoformat() for result in results})
    rounds = max(len(each.us.samples) for result in results for each in result.findings)
    met = [finding.is_met for result in results for finding in result.findings]
    programs = ", ".join(f"{name} {number}" for name, number in versions.items())
    busy = max(result.busy for result in results)
    told = (
        f"{' and '.join(days)}, {where}; {programs}. When it began, {busy:.0f} other processes "
        f"wanted the cores. Medians of {rounds} rounds or fewer, and in brackets the "
        f"least and the most of them. Of {met.count(True) + met.count(False)} goals "
        f"{met.count(True)} are met."
    )
    picture = "![The mixed trace and the goals, as bars](performance.svg)"
    return f"{textwrap.fill(told, 100, break_on_hyphens=False)}\n\n{picture}\n\n"


def machine() -> str:
    """Processor, cores, kernel and the libraries that matter."""
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    libraries = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = f"{os.cpu_count()} cores of {processor(Path('/proc/cpuinfo').read_text())}"
    return f"{cores}, Linux {kernel}, Python {platform.python_version()}, {libraries}"


def processor(cpuinfo: str) -> str:
    """The name of the processor, from /proc/cpuinfo (proc(5))."""
    rows = (line.partition(":") for line in cpuinfo.splitlines())
    return next((text.strip() for key, _, text in rows if key.strip() == "model name"), "?")
