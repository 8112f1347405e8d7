"""The product as people run it: `python -m proxy serve` in a process of its own.

    async with Process(tmp_path, uplink.url, workers=2) as process:
        reply = await process.get("/lodash")

What it prints goes to files, so that nothing waits for a reader. Ended by its id, and with it every
descendant it leaves behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.fakes import rawhttp
from tests.fakes.rawhttp import RawReply

ROOT = Path(__file__).resolve().parent.parent
PROC = Path("/proc")
START_SECONDS = 40
STOP_SECONDS = 40
FULL = "Accept: application/json"
ABBREVIATED = "Accept: application/vnd.npm.install-v1+json"


class Process:
    """One instance. `settings` are PACKHOUSE_... variables without that prefix."""

    def __init__(
        self,
        folder: Path,
        uplink_url: str | None,
        *,
        workers: int = 1,
        listen: str = "127.0.0.1:0",
        settings: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        name: str = "process",
    ) -> None:
        self.data = folder / "data"
        self.out = folder / f"{name}.out"
        self.err = folder / f"{name}.err"
        uplink = () if uplink_url is None else ("--uplink", uplink_url)
        self._argv = [
            *(*prefix, sys.executable, "-m", "proxy", "serve", "--listen", listen),
            *("--data", str(self.data), "--workers", str(workers), *uplink, *options),
        ]
        self._env = _environment(folder, settings or {})
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "it was not started"
        return self._process

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    # --- its life ---------------------------------------------------------------------------------

    async def launch(self, *, stdout: int | None = None, stderr: int | None = None) -> None:
        """Start it, and wait for nothing."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                env=self._env,
                cwd=self.data.parent,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err if stderr is None else stderr,
                start_new_session=True,
            )

    async def start(self, *, stdout: int | None = None) -> None:
        """Start it, and wait until it answers."""
        already = len(self.greetings())
        await self.launch(stdout=stdout)
        await until(lambda: len(self.greetings()) > already or self.has_ended(), START_SECONDS)
        assert not self.has_ended(), self.err.read_text()
        self.port = int(self.greetings()[-1].rpartition(":")[2].strip("/ \n"))
        reply = await self.get("/-/ready", timeout=START_SECONDS)
        assert reply.status == 200, reply.body

    async def run(self) -> int:
        """Start it, and wait until it ends by itself; the status."""
        try:
            await self.launch()
            return await self.ended()
        finally:
            await self.end()

    async def end(self) -> None:
        """Kill whatever is left of it, all at once: a parent would replace its dead workers."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self._running.wait()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop; its exit status."""
        self._running.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its exit; the status."""
        async with asyncio.timeout(STOP_SECONDS):
            return await self._running.wait()

    def has_ended(self) -> bool:
        return self._running.returncode is not None

    def workers(self) -> list[int]:
        """The ids of its living children."""
        return children(self.pid)

    # --- what it says -----------------------------------------------------------------------------

    async def get(self, target: str, *headers: str, timeout: float = 20) -> RawReply:
        """One request on a connection of its own."""
        reply = await rawhttp.send(self.port, rawhttp.get(target, *headers), timeout=timeout)
        assert reply is not None, f"no answer to {target}"
        return reply

    async def held(self, target: str) -> RawReply:
        """The first reply that is a hit: what was a miss does not wait for our disk."""
        async with asyncio.timeout(20):
            while not (reply := await self.get(target)).headers["cache-status"].endswith("; hit"):
                await asyncio.sleep(0.02)
        return reply

    def greetings(self) -> list[str]:
        lines = self.err.read_text().splitlines() if self.err.exists() else []
        return [line for line in lines if " listens on " in line]

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """Lines of its event log."""
        lines = [json.loads(line) for line in self.err.read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if event in line["event"]]

    def requests(self) -> list[dict[str, Any]]:
        """Lines of its access log."""
        return [json.loads(line) for line in self.out.read_text().splitlines()]


class Connection:
    """A client that keeps its connection alive, and never tries a request twice."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, target: str, *headers: str) -> RawReply:
        """Raises ConnectionError unless a whole answer comes."""
        try:
            reply = await self._exchange(target, headers)
        except BaseException:
            await self.close()
            raise
        if reply.headers.get("connection", "").lower() == "close":
            await self.close()
        return reply

    async def _exchange(self, target: str, headers: Sequence[str]) -> RawReply:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        lines = [f"GET {target} HTTP/1.1", "Host: registry.example", *headers]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(20):
            reply = await rawhttp.receive(reader)
        if reply is None or not reply.is_complete:
            raise ConnectionError(f"no whole answer to {target}")
        return reply

    async def close(self) -> None:
        if self._streams is not None:
            writer, self._streams = self._streams[1], None
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def command(
    *arguments: str, folder: Path, settings: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run `packhouse` with these arguments; its exit status, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", *arguments),
        env=_environment(folder, settings or {}),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(START_SECONDS):
        printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def until(is_so: Callable[[], object], seconds: float = 20) -> None:
    """Wait for what has to come."""
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.02)


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and is not waited for does not."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def children(pid: int) -> list[int]:
    return [child for child, parent in _parents() if parent == pid and is_alive(child)]


def descendants(pid: int) -> list[int]:
    """Its children, theirs, and so on."""
    family = children(pid)
    for member in family:
        family.extend(children(member))
    return family


def threads(pid: int) -> int:
    return len(list((PROC / str(pid) / "task").iterdir()))


def _parents() -> Iterator[tuple[int, int]]:
    for path in PROC.glob("[0-9]*"):
        fields = _stat(int(path.name))
        if fields:
            yield int(path.name), int(fields[1])


def _stat(pid: int) -> list[str]:
    """The fields of stat after the name, which may hold spaces; none of what is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Nothing of this machine's configuration; no floor of free disk, which a test cannot know."""
    inherited = {key: text for key, text in os.environ.items() if "PACKHOUSE_" not in key}
    ours = {"CACHE_MIN_FREE": "0B", "SERVER_DRAIN": "200ms", "LOG_FORMAT": "json", **settings}
    given = {f"PACKHOUSE_{key}": text for key, text in ours.items()}
    return {**inherited, "HOME": str(folder), "PYTHONPATH": str(ROOT), **given}
