"""proxy.npm.provenance."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from proxy.npm import links, names, provenance
from proxy.npm.documents import BadPublish

DATA = b"tarball"
SHA512 = hashlib.sha512(DATA)
NAME = names.parse("@acme/ui")


def bundle(statement: Any) -> str:
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps({"dsseEnvelope": {"payload": payload}})


def statement(**changes: Any) -> dict[str, Any]:
    subject = [{"name": "pkg:npm/x@1.0.0", "digest": {"sha512": SHA512.hexdigest()}}]
    return {"predicateType": "https://slsa.dev/provenance/v1", "subject": subject, **changes}


def test_a_bundle_is_kept_as_it_came() -> None:
    """What clients are sent holds the bundle's own bytes, with what it states beside it."""
    text = bundle(statement()).replace("{", '{ "é": 1.50, ', 1)

    found = provenance.read(text, SHA512.digest())

    assert found.predicate_type == "https://slsa.dev/provenance/v1"
    assert text.encode() in found.document
    assert json.loads(found.document) == {
        "attestations": [{"predicateType": found.predicate_type, "bundle": json.loads(text)}]
    }


@pytest.mark.parametrize(
    "subject",
    [None, [], [None], [{}], [{"digest": None}], [{"digest": {"sha512": "ab"}}], [{"digest": []}]],
)
def test_a_bundle_about_something_else(subject: Any) -> None:
    """A bundle that is not about this tarball says so."""
    with pytest.raises(provenance.OtherTarball):
        provenance.read(bundle(statement(subject=subject)), SHA512.digest())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"dsseEnvelope":7}',
        '{"dsseEnvelope":{}}',
        '{"dsseEnvelope":{"payload":"%"}}',
        '{"dsseEnvelope":{"payload":"é"}}',
        bundle([]),
        bundle({}),
        bundle(statement(predicateType=7)),
    ],
)
def test_what_is_no_bundle(text: str) -> None:
    """What states nothing is refused, and nothing else is raised."""
    with pytest.raises(BadPublish):
        provenance.read(text, SHA512.digest())


@pytest.mark.parametrize("base_url", ["https://npm.acme.example", "https://acme.example/npm"])
def test_its_address_gets_our_host_alone(base_url: str) -> None:
    """The address is absolute when it is sent, without the path that npm puts before it itself."""
    found = provenance.attestations(NAME, "1.0.0+b", "x")
    manifest = (
        b'{"dist":{"tarball":"/x","attestations":'
        + json.dumps(found, separators=(",", ":")).encode()
        + b"}}"
    )

    sent = links.rewrite(manifest, base_url=base_url, name=NAME, version="1.0.0+b")

    origin = base_url.removesuffix("/npm")
    assert json.loads(sent)["dist"]["attestations"] == {
        "url": f"{origin}/-/npm/v1/attestations/@acme%2fui@1.0.0%2Bb",
        "provenance": {"predicateType": "x"},
    }


def test_other_manifests_are_untouched() -> None:
    """Attestations of another version, or with a host, stay as an uplink wrote them."""
    for url in ("/-/npm/v1/attestations/other@1.0.0", "https://registry.example/-/npm/v1/x"):
        manifest = f'{{"dist":{{"tarball":"/x","attestations":{{"url":"{url}"}}}}}}'.encode()

        sent = links.rewrite(manifest, base_url="https://a.example", name=NAME, version="1.0.0")

        assert f'"url":"{url}"'.encode() in sent
