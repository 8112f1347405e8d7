"""What is typed for a client arrives, however slowly it comes to read it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.clients import terminal

# As pnpm 12 asks for a password: the question first, then no echo, which empties the line.
ASKING = """
import termios, time
print("Password:", end="", flush=True)
time.sleep(0.3)
mode = termios.tcgetattr(0)
mode[3] &= ~termios.ECHO
termios.tcsetattr(0, termios.TCSAFLUSH, mode)
print("read", input())
"""


def test_an_answer_is_typed_when_it_is_read(tmp_path: Path) -> None:
    """A program that throws away what was typed before it reads gets its answer all the same."""
    argv = [sys.executable, "-c", ASKING]

    code, printed = terminal.converse(
        argv, tmp_path, os.environ, [("Password:", "correct horse")], patience=20
    )

    assert code == 0
    assert printed.endswith("read correct horse\n")


def test_nothing_is_typed_for_a_program_that_has_ended(tmp_path: Path) -> None:
    """A program that asks and ends without reading is not waited for."""
    argv = [sys.executable, "-c", "print('Password:')"]

    code, printed = terminal.converse(
        argv, tmp_path, os.environ, [("Password:", "correct horse")], patience=3600
    )

    assert (code, printed) == (0, "Password:\n")
