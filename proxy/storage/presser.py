"""The pressing process as its parent sees it: started when first needed, and again when it died."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import proxy
from proxy.errors import StorageAway, StorageFull
from proxy.npm import packument, wire
from proxy.storage.pressing import LENGTH_BYTES, Lost

# A packument of 256 MB, the largest we take, is pressed in about five seconds.
_PATIENCE = timedelta(seconds=60)
_ATTEMPTS = 2
_ROOT = str(Path(proxy.__file__).parent.parent)


class Presser:
    """One pressing process, which is asked one thing at a time."""

    def __init__(self, *, patience: timedelta = _PATIENCE) -> None:
        self._patience = patience
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def ask(self, step: str, **facts: str | Mapping[str, str] | Sequence[str]) -> Any:
        """The value of a step of pressing.py.

        Raises packument.Malformed and Empty, Lost, StorageAway and StorageFull. When the caller is
        cancelled the process is ended too: an answer left in its pipe would be taken for the next.
        """
        message = wire.dumps({"step": step, **facts})
        async with self._turn:
            return _value(await self._answer(message))

    async def close(self) -> None:
        """End the process."""
        await self._end()

    async def _answer(self, message: bytes) -> dict[str, Any]:
        for _ in range(_ATTEMPTS):  # a process that was idle for long ends as we ask: ask a new one
            try:
                async with asyncio.timeout(self._patience.total_seconds()):
                    return await self._exchange(message)
            except TimeoutError as error:
                await self._end()
                reason = f"a packument was not pressed within {self._patience}"
                raise StorageAway(reason=reason) from error
            except (OSError, asyncio.IncompleteReadError):
                await self._end()
            except asyncio.CancelledError:
                await self._end()
                raise
        raise StorageAway(reason="the pressing process died; is there memory enough?")

    async def _exchange(self, message: bytes) -> dict[str, Any]:
        process = await self._alive()
        if process.stdin is None or process.stdout is None:
            raise StorageAway(reason="the pressing process has no pipes")
        process.stdin.write(len(message).to_bytes(LENGTH_BYTES, "big") + message)
        await process.stdin.drain()
        length = await process.stdout.readexactly(LENGTH_BYTES)
        answer: dict[str, Any] = wire.loads(
            await process.stdout.readexactly(int.from_bytes(length, "big"))
        )
        return answer

    async def _alive(self) -> Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        # -P: the folder we were started in is not a place to import from.
        command = (sys.executable, "-P", "-m", "proxy.storage.pressing")
        path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
        env = {**os.environ, "PYTHONPATH": path}
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, env=env
        )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _value(answer: dict[str, Any]) -> Any:
    reason = answer.get("reason", "")
    match answer.get("error"):
        case None:
            return answer["value"]
        case "empty":
            raise packument.Empty(reason)
        case "malformed":
            raise packument.Malformed(reason)
        case "lost":
            raise Lost(reason)
        case "disk":
            is_full = answer["errno"] in {errno.ENOSPC, errno.EDQUOT}
            raise (StorageFull if is_full else StorageAway)(reason=reason)
        case _:
            raise RuntimeError(f"in the pressing process: {reason}")
