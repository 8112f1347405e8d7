"""Worker processes that share one port: started, watched, told to reload, and drained.

The parent binds the socket and forks; it touches no event loop, database or network itself, and has
one thread. Every worker accepts from the one inherited socket.

1. A worker that dies is replaced at once, at most `_DEATHS` times within `_WITHIN_SECONDS`: what
   dies faster than that will not get well by itself. One that ends well was told to: it is replaced
   and not counted, so that `kill -TERM` of one worker after the other is a rolling restart.
2. A worker that cannot start (its storage cannot be opened) is tried again each second while others
   serve. When none is left the parent gives up.
3. A replacement has the rules of the last reload: the parent reads the configuration first, and
   tells the workers only if it can be used.
4. Stopping is a drain (measured: without it, one request in a hundred on kept-alive connections
   fails): stop accepting, for `server.drain` answer what comes with `Connection: close`, then
   close. What has not ended after `patience` is killed.

Signals are blocked and waited for, so that nothing happens between two lines of this module, and no
signal comes to a worker before it listens.
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
from datetime import timedelta

from proxy.errors import RegistryError
from proxy.serving.worker import SIGNALS

_log = logging.getLogger(__name__)

_DEATHS = 10
_WITHIN_SECONDS = 10.0
_AGAIN_SECONDS = 1.0
_CANNOT_START = 3
_STOPPING = {signal.SIGTERM, signal.SIGINT}
_BACKLOG = 1024  # not aiohttp's 128: a CI fleet opens its connections all at once

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
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


class Supervisor:
    """The parent of `count` workers.

    `mourn` is told the id of each that has ended; `reload` says whether the configuration can be
    used; `patience` is how long workers may take to end.
    """

    def __init__(
        self,
        *,
        listener: socket.socket,
        count: int,
        run_worker: RunWorker,
        mourn: Mourn,
        reload: Callable[[], bool],
        patience: timedelta,
    ) -> None:
        self._listener = listener
        self._count = count
        self._run_worker = run_worker
        self._mourn = mourn
        self._reload = reload
        self._patience = patience
        self._workers: set[int] = set()
        self._deaths: deque[float] = deque(maxlen=_DEATHS)
        self._spawn_at = 0.0
        self._kill_at: float | None = None
        self._status = 0

    def run(self) -> int:
        """Run until told to stop, or until no worker can be kept alive; returns the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {*SIGNALS, signal.SIGCHLD})
        self._fill_up()
        while self._workers:
            self._heed(self._next_signal())
            self._bury_dead()
            if self._kill_at is None:
                self._fill_up()
            elif time.monotonic() >= self._kill_at:
                self._tell(signal.SIGKILL)
        if self._kill_at is None:
            _log.critical("no worker can be started; giving up")
            return 1
        return self._status

    # --- signals ----------------------------------------------------------------------------------

    def _next_signal(self) -> int | None:
        """Wait for a signal, for a while."""
        heard = signal.sigtimedwait({*SIGNALS, signal.SIGCHLD}, _AGAIN_SECONDS)
        return None if heard is None else heard.si_signo

    def _heed(self, number: int | None) -> None:
        if number in _STOPPING:
            self._stop()
        elif number == signal.SIGHUP and self._reload():
            self._tell(signal.SIGHUP)

    def _stop(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._patience.total_seconds()
            # Ours is one more door to the port: while it is open, clients wait for an accept that
            # never comes.
            self._listener.close()
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    # --- workers ----------------------------------------------------------------------------------

    def _fill_up(self) -> None:
        while len(self._workers) < self._count and time.monotonic() >= self._spawn_at:
            self._spawn()

    def _spawn(self) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_worker()
        self._workers.add(pid)

    def _become_worker(self) -> None:
        """Run in the child; never returns into the parent's code."""
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            self._run_worker(self._listener)
            status = 0
        except RegistryError as error:
            _log.critical("a worker cannot start", extra={"reason": str(error)})
            status = _CANNOT_START
        except BaseException:  # noqa: BLE001  a child must not run on in its parent's code
            _log.exception("worker failed")
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(status)

    def _bury_dead(self) -> None:
        while self._workers:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._workers.discard(pid)
            self._mourn(pid)
            self._judge(pid, os.waitstatus_to_exitcode(ended))

    def _judge(self, pid: int, status: int) -> None:
        if status == 0:
            _log.info("worker ended", extra={"worker": pid})
            return
        self._status = 1 if self._kill_at is not None else self._status
        _log.error("worker died", extra={"worker": pid, "status": status})
        if status == _CANNOT_START:
            self._spawn_at = time.monotonic() + _AGAIN_SECONDS
        self._deaths.append(time.monotonic())
        if self._kill_at is None and self._die_too_fast():
            _log.critical("workers die as fast as they are started; giving up")
            self._status = 1
            self._stop()

    def _die_too_fast(self) -> bool:
        is_full = len(self._deaths) == _DEATHS
        return is_full and self._deaths[-1] - self._deaths[0] < _WITHIN_SECONDS
