"""Worker processes that share one port: started, watched, told to reload, and drained.

The parent binds the socket and forks; it touches no event loop, database or network itself. Every
worker accepts from the one inherited socket. A worker that dies is replaced at once, at most
`_DEATHS` times within `_WITHIN_SECONDS`: what dies faster than that will not get well by itself.

Stopping is a drain (measured: without it, one request in a hundred on kept-alive connections
fails): stop accepting, for `server.drain` answer what comes with `Connection: close`, then close.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

_log = logging.getLogger(__name__)

_DEATHS = 10
_WITHIN_SECONDS = 10.0
_GRACE_SECONDS = 30.0
_POLL_SECONDS = 0.05

RunWorker = Callable[[socket.socket], None]
Mourn = Callable[[int], None]


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError with the address in its text."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        listener.bind((host, port))
        # Not aiohttp's 128: a CI fleet opens its connections all at once.
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


class Supervisor:
    """The parent of `count` workers. `mourn` is told the id of each that has died."""

    def __init__(
        self, *, listener: socket.socket, count: int, run_worker: RunWorker, mourn: Mourn
    ) -> None:
        self._listener = listener
        self._count = count
        self._run_worker = run_worker
        self._mourn = mourn
        self._workers: set[int] = set()
        self._deaths: deque[float] = deque(maxlen=_DEATHS)
        self._is_stopping = False

    def run(self) -> int:
        """Run until told to stop; returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._forward)
        for _ in range(self._count):
            self._spawn()
        while not self._is_stopping:
            self._replace_dead()
            time.sleep(_POLL_SECONDS)
        return self._wait_for_all()

    def _spawn(self) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_worker()
        self._workers.add(pid)

    def _become_worker(self) -> None:
        """Run in the child; never returns into the parent's code."""
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            self._run_worker(self._listener)
            status = 0
        except BaseException:
            logging.getLogger(__name__).exception("worker failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _replace_dead(self) -> None:
        while self._workers and not self._is_stopping:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._workers.discard(pid)
            self._mourn(pid)
            _log.error("worker died", extra={"worker": pid, "status": status})
            self._deaths.append(time.monotonic())
            if (
                len(self._deaths) == _DEATHS
                and self._deaths[-1] - self._deaths[0] < _WITHIN_SECONDS
            ):
                _log.critical("workers die as fast as they are started; giving up")
                self._stop(signal.SIGTERM, None)
                return
            self._spawn()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True
        self._tell(signal.SIGTERM)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._tell(signal.Signals(number))

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait_for_all(self) -> int:
        deadline = time.monotonic() + _GRACE_SECONDS
        status = 0
        while self._workers:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._workers.discard(pid)
                status = status or os.waitstatus_to_exitcode(ended)
            elif time.monotonic() > deadline:
                self._tell(signal.SIGKILL)
                deadline = float("inf")
            else:
                time.sleep(_POLL_SECONDS)
        return 0 if status == 0 else 1
