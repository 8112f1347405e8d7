"""What may not be read does not exist, at whatever address it is asked for: threat 22, item 104."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.storage.hosting import Access
from tests.fakes.uplink import FakeUplink
from tests.owned import Owned, owned
from tests.registry import ABBREVIATED, FULL, Clock

PLACES = [
    "/{name}", "/{escaped}", "/{name}/1.0.0", "/{name}/latest", "/{name}/2.0.0",
    "/{name}/-/{bare}-1.0.0.tgz", "/{name}/-/{bare}-2.0.0.tgz",
    "/-/package/{escaped}/dist-tags", "/-/package/{name}/dist-tags",
    "/-/npm/v1/attestations/{escaped}@1.0.0",
    "/-/package/{escaped}/visibility", "/-/package/{escaped}/access",
    "/-/package/{escaped}/collaborators",
]  # fmt: skip


@pytest.fixture
async def home(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Owned]:
    """A registry with a restricted package of ann's."""
    uplink.publish("plain", "1.0.0")
    async with owned(tmp_path / "data", uplink, clock) as running:
        await running.publish("@acme/hidden", access=Access.RESTRICTED)
        await running.publish("@acme/public")
        yield running


async def told(
    home: Owned, name: str, user: str | None, method: str = "GET"
) -> list[tuple[object, ...]]:
    """What every address says of a package, without what differs from request to request."""
    words = {"name": name, "escaped": name.replace("/", "%2f"), "bare": name.rpartition("/")[2]}
    said: list[tuple[object, ...]] = []
    sent = {} if user is None else {"authorization": f"Bearer {home.tokens[user]}"}
    for place in PLACES:
        for accept in (FULL, ABBREVIATED):
            found = await home.registry.ask(
                method, place.format(**words), {**sent, "accept": accept}
            )
            body = re.sub(rb'"request_id":"[^"]*"', b"", found.body)
            body = body.replace(words["bare"].encode(), b"NAME")
            headers = {
                key: value
                for key, value in found.headers.items()
                if key.lower() not in {"date", "x-request-id", "content-length"}
            }
            said.append((place, found.status, body, headers))
    return said


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("user", ["bob", None])
async def test_22_hidden_is_as_absent(home: Owned, user: str | None, method: str) -> None:
    """To whoever may not read it, a package says at every address what an absent one says."""
    hidden = await told(home, "@acme/hidden", user, method)
    absent = await told(home, "@acme/absent", user, method)

    assert hidden == absent
    assert home.uplink.count() == 0


async def test_22_its_owner_reads_it(home: Owned) -> None:
    """The same addresses answer its owner."""
    statuses = {place: status for place, status, *_ in await told(home, "@acme/hidden", "ann")}

    assert statuses["/{name}"] == statuses["/{name}/-/{bare}-1.0.0.tgz"] == 200
    assert statuses["/{name}/latest"] == 200


async def test_104_each_package_by_itself(home: Owned) -> None:
    """Who is not logged in reads public packages though private ones live here: 200, and 404."""
    found = {
        path: (await home.get(path)).status
        for path in ("/plain", "/plain/-/plain-1.0.0.tgz", "/@acme%2fpublic", "/@acme%2fhidden")
    }

    assert list(found.values()) == [200, 200, 404, 404]
    assert (await home.get("/@acme%2fpublic", "bob")).status == 200
