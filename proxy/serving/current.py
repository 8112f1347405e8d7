"""The configuration in force in one process, and what of it may change while it serves.

Only the rules change (SIGHUP): everything else decides which parts were built at the start. A
configuration that cannot be used changes nothing, and the log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from proxy.config.settings import Config
from proxy.errors import ConfigError
from proxy.npm.policy import Rules

_log = logging.getLogger(__name__)

LoadConfig = Callable[[], Config]


class Current:
    """The configuration in force. `load` reads it again and raises ConfigError."""

    def __init__(self, config: Config, load: LoadConfig) -> None:
        self._config = config
        self._load = load

    @property
    def config(self) -> Config:
        """What is in force now."""
        return self._config

    def reload(self) -> bool:
        """Put the rules in force that are written now; False if they cannot be."""
        try:
            fresh = self._load()
            _demand_known_uplinks(fresh.rules, self._config)
        except ConfigError as fault:
            problems = "; ".join(fault.problems)
            _log.error(
                "configuration not reloaded, the old one stays in force",
                extra={"problems": problems},
            )
            return False
        if replace(fresh, rules=self._config.rules, warnings=self._config.warnings) != self._config:
            _log.warning("only the rules are reloaded, other changes wait for the next start")
        self._config = replace(self._config, rules=fresh.rules)
        _log.info("rules reloaded", extra={"rules": len(fresh.rules.rules)})
        return True


def _demand_known_uplinks(rules: Rules, running: Config) -> None:
    known = {uplink.name for uplink in running.uplinks}
    named = {rule.origin.uplink for rule in rules.rules if rule.origin.uplink is not None}
    if unknown := sorted(named - known):
        names = ", ".join(unknown)
        raise ConfigError(problems=[f"the rules name {names}: a new uplink needs a restart"])
