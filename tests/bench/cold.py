"""A cold install: nobody has anything, and every answer of the uplink takes its time.

Of each round, one install asks the uplink itself and one asks through an empty Packhouse; the
rounds alternate in their order, so that what disturbs the machine disturbs both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import processes, replaying
from tests.clients import project
from tests.clients.clients import Bun, Client, Npm, Pnpm
from tests.clients.server import serving

KEPT = Path(__file__).resolve().parents[2] / ".bench" / "uplink"
MEMORY = Path("/dev/shm")
CLIENTS: Mapping[str, Client] = {"npm": Npm("12"), "pnpm": Pnpm("12"), "bun": Bun()}


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one pair of installs, and the CPU seconds that we used for ours."""

    directly: float
    through_us: float
    cpu_seconds: float


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cold", description=__doc__)
    parser.add_argument("--client", choices=CLIENTS, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wait", type=float, default=0.05, help="seconds before each answer")
    parser.add_argument("--workers", default="1")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE")
    parser.add_argument("--record", action="store_true", help="fetch what is not stored")
    asked = parser.parse_args()
    settings = {"SERVER_WORKERS": asked.workers} | dict(each.split("=") for each in asked.set)
    source = registry() if asked.record else ""
    with replaying.uplink(KEPT, wait_seconds=asked.wait, record_from=source) as url:
        for name in asked.client or CLIENTS:
            rounds = measure(CLIENTS[name], url, asked.rounds, settings)
            print(f"{name:5} {told(rounds)}", flush=True)


def measure(
    client: Client, uplink: str, rounds: int, settings: Mapping[str, str]
) -> Sequence[Round]:
    """Install so many times each way, in alternating order."""
    found = []
    for number in range(rounds):
        if number % 2:
            through_us, cpu_seconds = through(client, uplink, settings)
            direct = directly(client, uplink)
        else:
            direct = directly(client, uplink)
            through_us, cpu_seconds = through(client, uplink, settings)
        found.append(Round(direct, through_us, cpu_seconds))
    return found


def told(rounds: Sequence[Round]) -> str:
    """The medians and their ratio, in a line."""
    directly = statistics.median(each.directly for each in rounds)
    through_us = statistics.median(each.through_us for each in rounds)
    cpu_seconds = statistics.median(each.cpu_seconds for each in rounds)
    each = " ".join(f"{one.directly:.2f}/{one.through_us:.2f}" for one in rounds)
    return (
        f"directly {directly:.2f} s, through us {through_us:.2f} s ({cpu_seconds:.2f} s CPU), "
        f"ratio {through_us / directly:.2f}   [{each}]"
    )


def directly(client: Client, uplink: str) -> float:
    """Seconds of an install that asks the uplink itself."""
    with tempfile.TemporaryDirectory(prefix="packhouse-cold-", dir=MEMORY) as place:
        return install(client, Path(place), uplink)


def through(client: Client, uplink: str, settings: Mapping[str, str]) -> tuple[float, float]:
    """Seconds of an install through a Packhouse that has nothing, and its CPU seconds."""
    with (
        tempfile.TemporaryDirectory(prefix="packhouse-cold-", dir=MEMORY) as place,
        serving(Path(place) / "data", "--uplink", uplink, settings=settings) as server,
    ):
        before = processes.use(server.pid).cpu_seconds
        seconds = install(client, Path(place), server.url)
        return seconds, processes.use(server.pid).cpu_seconds - before


def install(client: Client, place: Path, url: str) -> float:
    """Install the app, without a lockfile and with empty caches. Raises if that fails."""
    app = project.copy(place / "app", client, url, locked=False)
    outcome = client.install(app, url, place / "cache", frozen=False)
    if outcome.exit_code:
        raise RuntimeError(str(outcome))
    return outcome.seconds


def registry() -> str:
    """The registry that npm on this machine asks."""
    asked = ["npm", "config", "get", "registry"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True, cwd="/").stdout
    return said.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
