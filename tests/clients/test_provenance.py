"""npm 10, 11 and 12 publish with provenance, and verify it: the bundle goes all the way round.

Who signs a bundle and who verifies one asks Sigstore, which is on the internet. There trust.cjs
takes every bundle (clients.py), and ours is signed by nobody. That it is stored, named in the
manifest, found again and about this very tarball is npm's own code against ours.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.clients.clients import TRUST, Client, Npm
from tests.clients.house import House
from tests.clients.seats import Seat, each

pytestmark = [pytest.mark.timeout(400)]

ALL = each(Npm("10"), Npm("11"), Npm("12"))
KIND = "https://slsa.dev/provenance/v1"


@ALL
def test_a_bundle_goes_all_the_way_round(house: House, client: Client) -> None:
    """A bundle is uploaded with its tarball, named in the manifest, and served as it was."""
    name = f"@acme/proven-{client.name}"
    sent = publish(house.seat(client, "ann"), name)

    shown = json.loads(house.seat(client, "bob").done("view", name, "dist.attestations", "--json"))
    shown = shown[0] if isinstance(shown, list) else shown
    _, kept = house.ask("GET", shown["url"].removeprefix(house.url), user="bob")

    assert shown["provenance"] == {"predicateType": KIND}
    assert kept == {"attestations": [{"predicateType": KIND, "bundle": sent}]}


@ALL
def test_provenance_is_verified(house: House, client: Client) -> None:
    """Who installs sees that signature and provenance are of this tarball; npm 10 never does.

    It wants a second attestation, which only the npm registry makes.
    """
    name = f"@acme/verified-{client.name}"
    publish(house.seat(client, "ann"), name)
    bob = house.seat(client, "bob")
    app = bob.app("verified", **{name: "1.0.0"})
    bob.done("install", at=app)

    outcome = bob.run("audit", "signatures", at=app, env=TRUST)

    if client.version == "10":
        assert outcome.exit_code == 1, outcome
        assert "has attestations but no corresponding public key(s)" in outcome.output
    else:
        assert outcome.exit_code == 0, outcome
        assert "1 package has a verified registry signature" in outcome.output
        assert "1 package has a verified attestation" in outcome.output


def publish(seat: Seat, name: str) -> dict[str, Any]:
    """Publish a package with a bundle about it; that bundle."""
    at = seat.package(name)
    packed = json.loads(seat.done("pack", "--json", "--dry-run", at=at))
    packed = next(iter(packed if isinstance(packed, Sequence) else packed.values()))
    made = bundle(name, packed["integrity"])
    file = at.parent / "bundle.json"
    file.write_text(json.dumps(made))
    seat.done("publish", f"--provenance-file={file}", at=at, env=TRUST)
    return made


def bundle(name: str, integrity: str) -> dict[str, Any]:
    """A bundle that says of one tarball what a build would; nobody has signed it."""
    sha512 = base64.b64decode(integrity.removeprefix("sha512-")).hex()
    purl = f"pkg:npm/{name.replace('@', '%40')}@1.0.0"
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": purl, "digest": {"sha512": sha512}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    }
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": payload,
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": "AAAA", "keyid": ""}],
        },
    }
