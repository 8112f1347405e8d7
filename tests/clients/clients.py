"""The real package managers, as tests/clients/tools installs them: one small class for each.

A client runs in a home of its own: its cache, its store, its configuration and its logs lie under
the `cache` folder it is given, and nothing of this machine's configuration reaches it but `PATH`,
the locale and the certificates to trust. A new `cache` folder is a machine that never installed.
All share one thing, what Node.js has compiled of the clients themselves: it has no other effect
than that they start sooner.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.clients import terminal

MODULES = Path(__file__).resolve().parents[2] / ".clients" / "node_modules"
_ARCH, _BUN_ARCH = {"x86_64": ("x64", "x64"), "aarch64": ("arm64", "aarch64")}[platform.machine()]
NODE = MODULES / f"node-linux-{_ARCH}" / "bin" / "node"

PATIENCE_SECONDS = 240
"""How long one install may take; a client that waits for ever is a finding, not a hung test run."""

COMPILED = MODULES.parent / "compiled"
"""Where Node.js keeps the compiled code of all clients; a user's machine, too, has it compiled."""

TRUST = {"NODE_OPTIONS": f"--require={Path(__file__).with_name('trust.cjs')}"}
"""What npm runs with where it asks Sigstore's root of trust, which is on the internet."""

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended. `output` is both streams as they came."""

    argv: tuple[str, ...]
    seconds: float
    exit_code: int
    output: str

    def __str__(self) -> str:
        """Show the end of a run to a person who looks for a cause."""
        tail = "\n".join(self.output.splitlines()[-40:])
        return f"{' '.join(self.argv)}\nexit {self.exit_code} after {self.seconds:.1f} s\n{tail}"


@dataclass(frozen=True, slots=True)
class Client:
    """One client at one version. `lock` is the folder of its lockfile among the project's locks."""

    version: str = ""
    lock: ClassVar[str] = ""
    lockfile: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """What a report calls it, and the folder it lies in."""
        return f"{type(self).__name__.lower()}{self.version}"

    def install(self, project: Path, registry: str, cache: Path, *, frozen: bool) -> Outcome:
        """Install `project` from `registry`; `frozen` takes the lockfile as it is or fails.

        Lifecycle scripts do not run. `registry` has no slash at its end.
        """
        home = cache / "home"
        home.mkdir(parents=True, exist_ok=True)
        self._configure(project, registry, cache)
        argv = self._argv(registry, cache, frozen=frozen)
        return self._run(project, home, argv, self._env(cache))

    def run(
        self,
        arguments: Sequence[str],
        *,
        at: Path,
        home: Path,
        env: Mapping[str, str],
        answers: terminal.Answers | None = None,
    ) -> Outcome:
        """Run any command of it in `at` for the user whose home this is.

        With `answers` (or none) it runs on a terminal; else nothing can be asked.
        """
        argv = [*self.program(), *arguments]
        if answers is None:
            return self._run(at, home, argv, env)
        began = time.monotonic()
        exit_code, output = terminal.converse(
            argv, at, {**_environment(home), **env, "TERM": "xterm"}, answers, PATIENCE_SECONDS
        )
        return Outcome(tuple(argv), time.monotonic() - began, exit_code, output)

    def program(self) -> Sequence[str]:
        """What starts it."""
        raise AssertionError(f"{self.name} cannot be started")

    def settle(self, home: Path, registry: str, token: str = "") -> None:
        """Write what a user keeps in `home`: the registry's address and, after a login, a token."""
        _keep(home / ".npmrc", _npmrc(registry, token))

    def kept_token(self, home: Path, registry: str) -> str:
        """What is kept as the token for the registry; empty if nothing is."""
        line = re.compile(rf"^{re.escape(_key(registry))}=(\S+)$", re.MULTILINE)
        found = line.search(_kept(home / ".npmrc"))
        return found[1].strip('"') if found else ""

    def prepare(self, project: Path) -> None:
        """Write what a project needs before this client works in it."""

    def _configure(self, project: Path, registry: str, cache: Path) -> None:
        """Write the configuration the command line cannot give."""

    def _argv(self, registry: str, cache: Path, *, frozen: bool) -> Sequence[str]:
        raise AssertionError(f"{self.name} has no install command")

    def _env(self, cache: Path) -> Mapping[str, str]:
        return {}

    def _run(
        self, project: Path, home: Path, argv: Sequence[str], extra: Mapping[str, str]
    ) -> Outcome:
        """Run to the end, or kill at the limit: that counts as exit code -9."""
        began = time.monotonic()
        process = subprocess.Popen(
            argv,
            cwd=project,
            env=_environment(home) | extra,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        seconds = time.monotonic() - began
        return Outcome(tuple(argv), seconds, process.returncode, output.decode(errors="replace"))


class Npm(Client):
    """npm 10, 11 and 12."""

    __slots__ = ()
    lock = "npm"
    lockfile = "package-lock.json"

    def _argv(self, registry: str, cache: Path, *, frozen: bool) -> Sequence[str]:
        return [*self._cli(cache), "ci" if frozen else "install", "--registry", registry]

    def ls(self, project: Path, cache: Path) -> Outcome:
        """Ask npm itself whether node_modules is what the lockfile says."""
        argv = [*self._cli(cache), "ls", "--all", "--json"]
        return self._run(project, cache / "home", argv, {})

    def _cli(self, cache: Path) -> list[str]:
        switches = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
        own = [f"--cache={cache / 'npm'}", f"--globalconfig={cache / 'npmrc'}"]
        omit = "--omit-lockfile-registry-resolved"
        return [*self.program(), *switches, *own, omit]

    def program(self) -> Sequence[str]:
        return [str(NODE), str(MODULES / self.name / "bin" / "npm-cli.js")]


class Pnpm(Client):
    """pnpm 10 and 11 on Node.js, and 12, which is a binary of its own."""

    __slots__ = ()
    lock = "pnpm"
    lockfile = "pnpm-lock.yaml"

    def _configure(self, project: Path, registry: str, cache: Path) -> None:
        (project / ".npmrc").write_text(f"registry={registry}/\n")
        (project / "pnpm-workspace.yaml").write_text(
            f"storeDir: {cache / 'store'}\n"
            f"cacheDir: {cache / 'pnpm'}\n"
            f"stateDir: {cache / 'state'}\n"
            "ignoreScripts: true\n"
            "managePackageManagerVersions: false\n"
            "minimumReleaseAge: 0\n"
            "strictDepBuilds: false\n"
            "updateNotifier: false\n"
            "verifyDepsBeforeRun: false\n"
        )

    def _argv(self, registry: str, cache: Path, *, frozen: bool) -> Sequence[str]:
        lock = "--frozen-lockfile" if frozen else "--no-frozen-lockfile"
        return [*self.program(), "install", lock, "--reporter=append-only"]

    def program(self) -> Sequence[str]:
        if self.version == "12":
            return [str(MODULES / "@pnpm" / f"exe.linux-{_ARCH}" / "pnpm")]
        suffix = "cjs" if self.version == "10" else "mjs"
        return [str(NODE), str(MODULES / self.name / "bin" / f"pnpm.{suffix}")]


class Yarn1(Client):
    """Yarn classic."""

    __slots__ = ()
    lock = "yarn1"
    lockfile = "yarn.lock"

    def _configure(self, project: Path, registry: str, cache: Path) -> None:
        (project / ".yarnrc").write_text(f'registry "{registry}"\ndisable-self-update-check true\n')

    def _argv(self, registry: str, cache: Path, *, frozen: bool) -> Sequence[str]:
        cli = [*self.program(), "install"]
        quiet = ["--ignore-scripts", "--non-interactive", "--no-progress"]
        own = ["--cache-folder", str(cache / "yarn"), "--registry", registry]
        return [*cli, *quiet, *own, *(["--frozen-lockfile"] if frozen else [])]

    def program(self) -> Sequence[str]:
        return [str(NODE), str(MODULES / "yarn1" / "bin" / "yarn.js")]

    def settle(self, home: Path, registry: str, token: str = "") -> None:
        # Yarn classic reads tokens where npm keeps them, and the address from its own file.
        super().settle(home, registry, token)
        with (home / ".npmrc").open("a") as kept:
            kept.write("always-auth=true\n")
        _keep(home / ".yarnrc", f'registry "{registry}/"\ndisable-self-update-check true\n')


class Berry(Client):
    """Yarn 4."""

    __slots__ = ()
    lock = "berry"
    lockfile = "yarn.lock"

    def _configure(self, project: Path, registry: str, cache: Path) -> None:
        (project / ".yarnrc.yml").write_text(
            f'npmRegistryServer: "{registry}"\n'
            f'globalFolder: "{cache / "berry"}"\n'
            f'cacheFolder: "{cache / "berry-cache"}"\n'
            "enableGlobalCache: false\n"
            "enableScripts: false\n"
            "enableTelemetry: false\n"
            "nodeLinker: node-modules\n"
            "npmMinimalAgeGate: 0\n"
            'unsafeHttpWhitelist: ["127.0.0.1"]\n'
        )

    def _argv(self, registry: str, cache: Path, *, frozen: bool) -> Sequence[str]:
        lock = "--immutable" if frozen else "--no-immutable"
        return [*self.program(), "install", lock]

    def program(self) -> Sequence[str]:
        return [str(NODE), str(MODULES / "berry" / "bin" / "yarn.js")]

    def settle(self, home: Path, registry: str, token: str = "") -> None:
        self._configure(home, registry, home)
        with (home / ".yarnrc.yml").open("a") as kept:
            kept.write("npmPublishAccess: public\n")
            if token:
                kept.write(f'npmAlwaysAuth: true\nnpmAuthToken: "{token}"\n')

    def kept_token(self, home: Path, registry: str) -> str:
        line = re.compile(r"^ *npmAuthToken: (\S+)$", re.MULTILINE)
        found = line.search(_kept(home / ".yarnrc.yml"))
        return found[1].strip('"') if found else ""

    def prepare(self, project: Path) -> None:
        # Berry looks for a project's root upwards, unless there is a lockfile.
        (project / "yarn.lock").touch()


class Bun(Client):
    """Bun's package manager."""

    __slots__ = ()
    lock = "bun"
    lockfile = "bun.lock"

    def _argv(self, registry: str, cache: Path, *, frozen: bool) -> Sequence[str]:
        quiet = ["--ignore-scripts", "--no-progress", "--registry", f"{registry}/"]
        return [*self.program(), "install", *quiet, *(["--frozen-lockfile"] if frozen else [])]

    def program(self) -> Sequence[str]:
        return [str(MODULES / "@oven" / f"bun-linux-{_BUN_ARCH}" / "bin" / "bun")]

    def _env(self, cache: Path) -> Mapping[str, str]:
        kept = str(cache / "bun-cache")
        return {"BUN_INSTALL": str(cache / "bun"), "BUN_INSTALL_CACHE_DIR": kept}


class Changesets(Npm):
    """Changesets, which has npm tell it what is published, and publish the rest."""

    __slots__ = ()

    def program(self) -> Sequence[str]:
        return [str(NODE), str(MODULES / "changesets" / "bin.js")]


CLIENTS: Sequence[Client] = (
    Npm("10"), Npm("11"), Npm("12"), Pnpm("10"), Pnpm("11"), Pnpm("12"), Yarn1(), Berry(), Bun(),
)  # fmt: skip


def _key(registry: str) -> str:
    """What npm files a registry's token under."""
    return f"{registry.partition(':')[2]}/:_authToken"


def _npmrc(registry: str, token: str) -> str:
    kept = f"registry={registry}/\nfund=false\nupdate-notifier=false\nprogress=false\n"
    return f"{kept}{_key(registry)}={token}\n" if token else kept


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _kept(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _environment(home: Path) -> dict[str, str]:
    """Return what a client sees of this machine: little, and a home and a PATH of its own."""
    kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
    folders = {"HOME": str(home), "TMPDIR": str(home), "XDG_CONFIG_HOME": str(home / "config")}
    folders["NODE_COMPILE_CACHE"] = str(COMPILED)
    path = os.pathsep.join(
        [str(home / "bin"), str(NODE.parent), os.environ.get("PATH", os.defpath)]
    )
    return kept | folders | {"PATH": path, "NO_COLOR": "1", "DO_NOT_TRACK": "1"}
