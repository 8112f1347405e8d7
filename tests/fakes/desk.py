"""A person's desk for tests of the configuration: a file, an environment, and what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.config import Config, Found, load
from proxy.errors import ConfigError

NPM = Found("https://registry.example", "the test", token="t0ken")
UPLINK = '[uplinks.npm]\nurl = "https://registry.example"\n'


class Desk:
    """A folder with a configuration file, an environment, and what was typed."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.toml"
        self.folder = folder
        self.searches = 0
        self.found: Found | None = NPM

    def find(self) -> Found | None:
        self.searches += 1
        return self.found

    def load(
        self,
        text: str | None = UPLINK,
        environ: Mapping[str, str] | None = None,
        needs_uplink: bool = True,
        **typed: object,
    ) -> Config:
        if text is not None:
            self.file.write_text(text, encoding="utf-8")
            self.file.chmod(0o600)
        return load(
            file=None if text is None else self.file,
            environ=environ or {"HOME": "/home/ann"},
            find_registry=self.find,
            overrides={name.replace("__", "."): value for name, value in typed.items()},
            cwd=self.folder,
            needs_uplink=needs_uplink,
        )

    def problems(self, *args: object, **kwargs: object) -> list[str]:
        """What `load` says, the file's folder cut off."""
        with pytest.raises(ConfigError) as caught:
            self.load(*args, **kwargs)  # type: ignore[arg-type]
        return [each.replace(f"{self.folder}/", "") for each in caught.value.problems]
