"""What holds for the repository as a whole, whatever the code does."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Written in pieces, so that this file does not hold what it forbids.
HOSTS = re.compile(
    r"\b(?:[\w-]+\.)*(?:"
    + "|".join(
        rf"{site}\.{top}"
        for site, top in [
            ("npm" + "js", "(?:org|com)"),
            ("yarn" + "pkg", "com"),
            ("npm" + "mirror", "com"),
            ("py" + "pi", "org"),
            ("python" + "hosted", "org"),
            ("deb" + "ian", "org"),
            ("jsr", "io"),
        ]
    )
    + r")\b"
)
SHIRKED = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + r"CK\b"]))
HOUSE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/\w")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
# What no test may use: the names are here because this is where they are looked for.
SHIRKING_MARKS = {"skip", "skipif", "xfail"}
MOCKS = {"unittest.mock", "mock", "pytest_mock"}


def tracked() -> Iterator[Path]:
    """Yield the files git holds, as they are in the work tree; lockfiles of others included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    yield from (ROOT / name for name in sorted(filter(None, listed.split("\0"))))


def texts(*suffixes: str) -> Iterator[tuple[Path, str]]:
    """Yield every tracked text file that ends so, or every one, with what is in it."""
    for path in tracked():
        if path.is_file() and path.name.endswith(suffixes or ("",)):
            body = path.read_bytes()
            if b"\0" not in body:
                yield path.relative_to(ROOT), body.decode()


def found(pattern: re.Pattern[str], *suffixes: str) -> list[str]:
    """List every line that holds `pattern`, as file:line: text."""
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in texts(*suffixes)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_registry_host() -> None:
    """No tracked file names the host of a public registry: addresses come from configuration."""
    assert found(HOSTS) == []


def test_nothing_put_off() -> None:
    """No source, script or page holds a mark of work put off."""
    assert found(SHIRKED, ".py", ".md", ".toml", ".sql", ".sh") == []


def test_no_paths_of_one_machine() -> None:
    """No tracked file names a folder of the machine it was written on."""
    assert found(HOUSE_PATHS) == []


def test_no_test_is_skipped() -> None:
    """No test is skipped or expected to fail, and none replaces parts by mocks."""
    assert list(chain.from_iterable(_shirking(*item) for item in texts(".py"))) == []


def _shirking(path: Path, text: str) -> Iterator[str]:
    """Yield where a module uses pytest's skip and xfail, or imports a mock."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(attr=name, value=ast.Name(id="pytest")) if name in SHIRKING_MARKS:
                yield f"{path}:{node.lineno}: pytest.{name}"
            case ast.Attribute(attr=name, value=ast.Attribute(attr="mark")) if (
                name in SHIRKING_MARKS
            ):
                yield f"{path}:{node.lineno}: mark.{name}"
            case ast.Import(names=names) if {alias.name for alias in names} & MOCKS:
                yield f"{path}:{node.lineno}: a mock"
            case ast.ImportFrom(module=str(module)) if module in MOCKS:
                yield f"{path}:{node.lineno}: a mock"
            case _:
                pass


def test_tests_state_facts() -> None:
    """Every test has a docstring, the fact it proves."""
    assert [
        f"{path}:{node.lineno}: {node.name}"
        for path, text in texts(".py")
        if path.name.startswith("test_")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ] == []


def test_files_stay_readable() -> None:
    """No Python file is longer than 450 lines."""
    long = [f"{path}: {text.count(chr(10))}" for path, text in texts(".py")
            if text.count("\n") > 450]  # fmt: skip
    assert long == []


def test_links_resolve() -> None:
    """Every link of a page to a file, or to a heading, of the repository finds it."""
    assert list(chain.from_iterable(_broken(*item) for item in texts(".md"))) == []


def _broken(path: Path, text: str) -> Iterator[str]:
    """Yield the links of one page that lead nowhere; addresses of other sites are not looked at."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in (one or other for one, other in LINK.findall(prose)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        page = (ROOT / path.parent / name).resolve() if name else ROOT / path
        if not page.exists():
            yield f"{path}: {target}"
        elif anchor and anchor not in _anchors(page):
            yield f"{path}: {target} (no such heading)"


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as code hosts make them."""
    titles = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_programs_can_be_run() -> None:
    """What starts with an interpreter line is executable, and nothing else in scripts/ stands."""
    modes = subprocess.run(
        ["git", "ls-files", "-s"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    executable = {line.partition("\t")[2] for line in modes if line.startswith("100755")}
    programs = {str(path) for path, text in texts() if text.startswith("#!")}

    assert executable == programs
    assert {str(path) for path, _ in texts() if path.parts[0] == "scripts"} <= programs


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").iterdir()))
def test_scripts_are_short(script: str) -> None:
    """A script parses as POSIX sh and stays at a few lines: the work is done elsewhere."""
    path = ROOT / "scripts" / script

    subprocess.run(["sh", "-n", path], check=True)
    assert len(path.read_text().splitlines()) <= 40


def test_version_is_one() -> None:
    """The newest entry of CHANGELOG.md is the version of the distribution."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest is not None
    assert newest[1] == project["version"]
