"""Numbers: what is counted, and that the numbers of all workers are added up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.registry.answers import CacheState, Freshness
from proxy.web.addresses import Address
from proxy.web.keys import Exchange
from proxy.web.metrics import Metrics
from proxy.web.targets import Packument

WORKER = """
import sys
from pathlib import Path
from proxy.web import metrics
metrics.prepare(Path(sys.argv[1]))
counted = metrics.Metrics()
counted.upstream("main", "packument", "200", 0.1)
counted.flights(3)
print(counted.text()[0].decode())
"""


def exchange(
    route: str, state: CacheState, form: Form | None = None, method: str = "GET"
) -> Exchange:
    return Exchange(
        id="x",
        method=method,
        raw_path="/n",
        user_agent="npm",
        target=Packument(PackageName("n")),
        address=Address("http://a", "", "192.0.2.1"),
        route=route,
        freshness=Freshness(state),
        form=form,
    )


async def test_replies_are_counted_by_what_they_were() -> None:
    """Requests, bytes, packuments by form and tarballs by state each have their number."""
    metrics = Metrics()
    packument = exchange("/{package}", CacheState.HIT, Form.ABBREVIATED)
    tarball = exchange("/{package}/-/{file}", CacheState.MISS)
    tarball.is_cut = True

    metrics.replied(packument, 200, 100, 0.01)
    metrics.replied(exchange("/{package}", CacheState.HIT, method="HEAD"), 200, 10, 0.01)
    metrics.replied(tarball, 200, 1000, 0.2)
    metrics.flush()

    text = metrics.text()[0].decode()
    for line in (
        'packhouse_requests_total{route="/{package}",status="200"} 2.0',
        'packhouse_packuments_total{form="abbreviated",state="hit"} 1.0',
        'packhouse_tarballs_total{state="miss"} 1.0',
        "packhouse_sent_bytes_total 1110.0",
        "packhouse_cut_replies_total 1.0",
        'packhouse_request_seconds_count{route="/{package}"} 2.0',
    ):
        assert line in text.splitlines()


def test_the_state_of_the_world_is_told() -> None:
    """Breakers, flights, disk and uplinks are told as they were last noted."""
    metrics = Metrics()

    metrics.breaker("main", is_open=True)
    metrics.flights(4)
    metrics.disk("tarballs", 12)
    metrics.upstream("main", "tarball", "timeout", 10.0)

    text = metrics.text()[0].decode()
    for line in (
        'packhouse_breaker_open{uplink="main"} 1.0',
        "packhouse_flights 4.0",
        'packhouse_disk_bytes{kind="tarballs"} 12.0',
        'packhouse_upstream_seconds_count{kind="tarball",outcome="timeout",uplink="main"} 1.0',
    ):
        assert line in text.splitlines()


def test_the_numbers_of_all_workers_are_added_up(tmp_path: Path, root: Path) -> None:
    """Any worker that is asked tells what all have counted, those that are gone too."""
    told = [
        subprocess.run(
            [sys.executable, "-c", WORKER, str(tmp_path / "metrics")],
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for _ in range(2)
    ]

    count = 'packhouse_upstream_seconds_count{kind="packument",outcome="200",uplink="main"}'
    assert f"{count} 1.0" in told[0]
    assert f"{count} 2.0" in told[1]
