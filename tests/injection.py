"""System calls of a running process that fail, or kill it: strace, attached and let go again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def injected(pid: int, *options: str) -> AsyncIterator[None]:
    """Have strace look at all threads of a process with these options, until the block ends.

    `when=N` of an injection counts the calls of each thread by itself.
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
        with suppress(ProcessLookupError):
            strace.send_signal(signal.SIGINT)
        await strace.communicate()
