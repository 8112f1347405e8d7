"""System calls of a running process that fail, or kill it: strace, attached and let go again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PATIENCE_SECONDS = 20


@asynccontextmanager
async def injected(pid: int, *options: str, is_fatal: bool = False) -> AsyncIterator[None]:
    """Have strace look at all threads of a process with these options, until the block ends.

    `when=N` of an injection counts the calls of each thread by itself. What `is_fatal` kills the
    process within the block: strace then ends with it. Told to let a dying process go it would wait
    for ever for a leader whose threads it has not reaped.
    """
    command = ("strace", "-f", "-p", str(pid), "-o", "/dev/null", *options)
    strace = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert strace.stderr is not None
        async with asyncio.timeout(20):
            first = await strace.stderr.readline()
        assert b"attached" in first, first
        yield
    finally:
        if not is_fatal and strace.returncode is None:
            strace.send_signal(signal.SIGINT)
        await _ended(strace)


async def _ended(strace: asyncio.subprocess.Process) -> None:
    """Wait for its end, for a while; without it the process goes on."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await strace.communicate()
    except TimeoutError:
        strace.kill()
        await strace.wait()
