"""Configuration: the file, the environment and the command line to one frozen `Config`.

Floor 5, the only one that sees settings: `app/` hands each part what it needs. `settings` is the
table of all there is; `sources` reads what was given, `loader` makes the best of it or says
everything that is wrong; `npmrc` finds the registry that npm on this machine asks.
"""

from __future__ import annotations

from proxy.config.loader import load, problems
from proxy.config.npmrc import Found, find_here, find_registry
from proxy.config.settings import (
    Cache,
    Config,
    Log,
    LogFormat,
    LogLevel,
    Server,
    Storage,
    Uplink,
)
from proxy.config.summary import describe
from proxy.config.values import Address

__all__ = [
    "Address",
    "Cache",
    "Config",
    "Found",
    "Log",
    "LogFormat",
    "LogLevel",
    "Server",
    "Storage",
    "Uplink",
    "describe",
    "find_here",
    "find_registry",
    "load",
    "problems",
]
