"""What a name must be for a package that does not exist yet.

Reading is tolerant (`names.py`); publishing is not, because a new name has no users to keep.
Source: npm's validate-npm-package-name, its rules for new packages.
"""

from __future__ import annotations

import re

from proxy.npm.documents import BadPublish
from proxy.npm.names import PackageName

LONGEST = 214  # characters, the scope included
CORE_MODULES = frozenset({
    "assert", "async_hooks", "buffer", "child_process", "cluster", "console", "constants",
    "crypto", "dgram", "diagnostics_channel", "dns", "domain", "events", "fs", "http", "http2",
    "https", "inspector", "module", "net", "os", "path", "perf_hooks", "process", "punycode",
    "querystring", "readline", "repl", "stream", "string_decoder", "sys", "timers", "tls",
    "trace_events", "tty", "url", "util", "v8", "vm", "wasi", "worker_threads", "zlib",
})  # fmt: skip

_PART = re.compile(r"[a-z0-9][a-z0-9._-]*")


def validate(name: PackageName) -> None:
    """Raise BadPublish unless a new package may have this name."""
    problem = _problem(name)
    if problem is not None:
        raise BadPublish(f"a new package cannot be called {name.full[:100]!r}: {problem}", "name")


def _problem(name: PackageName) -> str | None:
    if len(name.full) > LONGEST:
        return f"the name is longer than {LONGEST} characters"
    if name.full != name.full.lower():
        return "the name has upper case letters"
    parts = [name.bare] if name.scope is None else [name.scope, name.bare]
    if not all(map(_PART.fullmatch, parts)):
        return "only a-z, 0-9, '-', '_' and '.' may be in it, and a letter or digit comes first"
    return "it is a core module of Node.js" if name.full in CORE_MODULES else None
