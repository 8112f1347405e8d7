"""What scripts/bench writes into the page about performance."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bench import page, results
from tests.bench.figures import Finding, Measure, Series, at_most

FINDING = Finding("start", "ready", "s", Series("us", (0.5,)), None, Measure.VALUE, at_most(1))
PAGE = Path(__file__).resolve().parents[3] / "docs" / "performance.md"


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    """What people wrote before and after stays, run after run."""
    before = f"# A title\n\n{page.BEGIN}\nold\n{page.END}\n\n## More\n"

    once = page.replaced(before, "new")

    assert once == f"# A title\n\n{page.BEGIN}\n\nnew\n{page.END}\n\n## More\n"
    assert page.replaced(once, "new") == once


def test_a_page_without_marks_is_left_alone() -> None:
    """Nothing is guessed: the run ends with what is missing."""
    with pytest.raises(SystemExit, match="lost its marks"):
        page.replaced("# A title\n", "new")


def test_our_page_has_the_marks() -> None:
    """The page that scripts/bench writes into can be written into."""
    assert "new" in page.replaced(PAGE.read_text(), "new")


def test_the_text_says_when_where_and_how_many_goals_are_met() -> None:
    """Every figure stands beside its day, its machine and its programs."""
    result = results.Result(
        [FINDING], datetime(2026, 11, 22, 9, tzinfo=UTC), is_quick=False, busy=3.0
    )

    text = " ".join(page.between([result], "2 cores of a thing", {"nginx": "1.2"}).split())

    assert text.startswith("2026-11-22, 2 cores of a thing; nginx 1.2.")
    assert "3 other processes wanted the cores" in text
    assert "Of 1 goals 1 are met." in text


def test_the_processor_is_named() -> None:
    """By the first line that has its name; where none has, by a question mark."""
    assert page.processor("processor\t: 0\nmodel name\t: A Chip 9\nmodel name\t: B\n") == "A Chip 9"
    assert page.processor("") == "?"


def test_results_are_kept(tmp_path) -> None:
    """What a row came to the last time is read back; a row that never ran has nothing."""
    results.save(tmp_path, "start", [FINDING], is_quick=True, busy=0.5)

    kept = results.load(tmp_path, "start")
    assert kept is not None
    assert (list(kept.findings), kept.is_quick, kept.busy) == ([FINDING], True, 0.5)
    assert results.load(tmp_path, "mixed") is None
