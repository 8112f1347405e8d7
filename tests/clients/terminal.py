"""A terminal for clients that ask questions: a pseudo-terminal, and somebody who answers.

A client prints its question first, and then takes the terminal over to read keys, or to show none
of them; what was typed in between is thrown away with that. So nothing is typed before: all our
clients read so, and one that reads plain lines would wait here until it is killed.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_STYLES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>78]|\r")

Answers = Sequence[tuple[str, str | Callable[[str], str | None]]]
"""Questions, by a part of what is printed, with what is typed; each is asked once, in this order.

What is typed may depend on all that was printed before; None is nothing, not even Enter.
"""


def converse(
    argv: Sequence[str], at: Path, env: Mapping[str, str], answers: Answers, patience: float
) -> tuple[int, str]:
    """Run a program on a terminal of its own; its exit code, and all it printed, without styles.

    What is never asked is never typed. A program that does not end within `patience` seconds is
    killed: that counts as exit code -9.
    """
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            argv, cwd=at, env=env, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(theirs)
    try:
        printed = _answer(ours, answers, time.monotonic() + patience)
    finally:
        os.close(ours)
        if process.poll() is None and not _ends(process):
            process.kill()
    return process.wait(), printed


def _answer(terminal: int, answers: Answers, limit: float) -> str:
    """Type the answers as they are asked for, until the program closes its side."""
    raw, looked_at, waiting = b"", 0, list(answers)
    while (left := limit - time.monotonic()) > 0 and select.select([terminal], [], [], left)[0]:
        try:
            raw += os.read(terminal, 65536)
        except OSError:  # nobody holds the other side any more
            break
        printed = _plain(raw)
        if waiting and (at := printed.find(waiting[0][0], looked_at)) >= 0:
            question, answer = waiting.pop(0)
            looked_at = at + len(question)
            typed = answer if isinstance(answer, str) else answer(printed)
            if typed is not None and _is_read(terminal, limit):
                os.write(terminal, typed.encode() + b"\r")
    return _plain(raw)


def _is_read(terminal: int, limit: float) -> bool:
    """Wait until the program has taken the terminal over; not if it has ended."""
    plain, ended = termios.ICANON | termios.ECHO, select.poll()
    ended.register(terminal, 0)
    while time.monotonic() < limit and not ended.poll(5):
        if termios.tcgetattr(terminal)[3] & plain != plain:
            return True
    return False


def _plain(raw: bytes) -> str:
    return _STYLES.sub("", raw.decode(errors="replace"))


def _ends(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return False
    return True
