"""The event log: one event a line, a constant message and its facts as fields.

JSON, or text for a terminal.

It goes to standard error; the access log goes to standard output (web/access_log.py). Whatever
looks like a token is masked, wherever it stands: a client can put one into any address.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from proxy.config.settings import Log, LogFormat
from proxy.npm import tokens, wire

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(settings: Log) -> None:
    """Send every logger's events to standard error in the form that was chosen."""
    is_text = settings.format is LogFormat.TEXT or (
        settings.format is LogFormat.AUTO and sys.stderr.isatty()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines() if is_text else JsonLines())
    logging.basicConfig(handlers=[handler], level=settings.level.value.upper(), force=True)
    # A log that cannot be written loses lines, never requests (RELIABILITY row 67).
    logging.raiseExceptions = False


def facts_of(record: logging.LogRecord) -> dict[str, object]:
    """What was given as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        line |= {key: _plain(value) for key, value in facts_of(record).items()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return tokens.masked(wire.dumps(line).decode())


class TextLines(logging.Formatter):
    """One line for people: time, level, event, facts."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone()
        facts = " ".join(f"{key}={value}" for key, value in facts_of(record).items())
        line = f"{at:%H:%M:%S} {record.levelname.lower():<8} {record.getMessage()} {facts}".rstrip()
        # Facts may hold what an uplink or a client wrote: it must not move the terminal's cursor.
        line = line.encode("utf-8", "backslashreplace").decode()
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return tokens.masked(line)


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
