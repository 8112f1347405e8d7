"""Signatures: made as npm makes them, and refused for anything else."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from proxy.npm import names, signing
from proxy.npm.signing import BadKey

# A key made elsewhere (with Node.js), and a signature it gave of "@acme/ui@1.0.0:sha512-x".
PEM = b"""-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgP6psjcfC2YIJ6gi8
4jkL6tZagWx2AtglajLjtSOaAamhRANCAARLtZ1MPtdSQcufoAHaL6x/CsyeNqJu
3S7XSNI7i/hXsKuX+tJOaOgdAr7U80NPVel7NYOEz1pSqOTtCyj7CXRb
-----END PRIVATE KEY-----
"""
DOCUMENT = {
    "expires": None,
    "keyid": "SHA256:6l3Qkk4yKNuiVQ+aHm8cM0mV3l7YwfaCgZz0nCBnaI4",
    "keytype": "ecdsa-sha2-nistp256",
    "scheme": "ecdsa-sha2-nistp256",
    "key": (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAES7WdTD7XUkHLn6AB2i+sfwrMnjaibt0u10jSO4v4V7Cr"
        "l/rSTmjoHQK+1PNDT1XpezWDhM9aUqjk7Qso+wl0Ww=="
    ),
}
SIG = (
    "MEYCIQDFcWMQSIGGCx25rsDXdLpbTO6fM0wAygEBtE/x12fwZgIhAOkBmhXoiRY1+lw/Xkt+QakbUqUf"
    "tJl7KeIClawMcXul"
)
NAME = names.parse("@acme/ui")
OF = (NAME, "1.0.0", "sha512-x")


def pem_of(key, encryption=None):
    """A private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def test_a_key_is_described_as_clients_expect():
    """The public half is SPKI in base64, its name the SHA-256 of that without padding."""
    assert signing.key_document(PEM) == DOCUMENT
    der = base64.b64decode(DOCUMENT["key"])
    assert base64.b64decode(DOCUMENT["keyid"][7:] + "=") == hashlib.sha256(der).digest()


def test_a_retired_key_says_until_when_it_counted():
    """A key that is no longer used has the instant of its end, as npm writes instants."""
    document = signing.key_document(PEM, expires_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert document["expires"] == "2026-01-02T03:04:05.000Z"


def test_signatures_made_elsewhere_verify():
    """What another tool signed with the key is accepted."""
    assert signing.verify(DOCUMENT, {"keyid": DOCUMENT["keyid"], "sig": SIG}, *OF)


def test_our_signatures_verify():
    """A new key signs, and its document verifies; no two signatures are alike."""
    pem = signing.new_key()
    document, one, other = signing.key_document(pem), signing.sign(pem, *OF), signing.sign(pem, *OF)
    assert one["keyid"] == other["keyid"] == document["keyid"]
    assert one["sig"] != other["sig"]
    assert signing.verify(document, one, *OF) and signing.verify(document, other, *OF)


def test_new_keys_differ():
    """Each new key is another one."""
    assert signing.new_key() != signing.new_key()


@pytest.mark.parametrize(
    "other",
    [
        (names.parse("acme/ui".replace("/", "-")), "1.0.0", "sha512-x"),
        (NAME, "1.0.1", "sha512-x"),
        (NAME, "1.0.0", "sha512-y"),
        (NAME, "1.0.0", ""),
    ],
)
def test_a_signature_is_of_one_version(other):
    """Another name, version or integrity makes the signature wrong."""
    assert not signing.verify(DOCUMENT, {"keyid": DOCUMENT["keyid"], "sig": SIG}, *other)


@pytest.mark.parametrize(
    "signature",
    [
        {},
        {"keyid": DOCUMENT["keyid"]},
        {"keyid": DOCUMENT["keyid"], "sig": "!"},
        {"keyid": DOCUMENT["keyid"], "sig": SIG[:-8]},
        {"keyid": DOCUMENT["keyid"], "sig": base64.b64encode(bytes(70)).decode()},
        {"keyid": "SHA256:other", "sig": SIG},
        {"sig": SIG},
    ],
)
def test_other_signatures_are_wrong(signature):
    """A damaged signature, or one that names another key, is wrong and raises nothing."""
    assert not signing.verify(DOCUMENT, signature, *OF)


def test_another_keys_signature_is_wrong():
    """A signature of one key is not one of another, whatever key it names."""
    forged = signing.sign(signing.new_key(), *OF) | {"keyid": DOCUMENT["keyid"]}
    assert not signing.verify(DOCUMENT, forged, *OF)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        PEM[:100],
        pem_of(ec.generate_private_key(ec.SECP384R1())),
        pem_of(ed25519.Ed25519PrivateKey.generate()),
        pem_of(
            ec.generate_private_key(ec.SECP256R1()), serialization.BestAvailableEncryption(b"x")
        ),
    ],
    ids=["empty", "text", "cut", "P-384", "Ed25519", "encrypted"],
)
def test_only_a_plain_key_of_p256_signs(pem):
    """A key that is unreadable, encrypted or of another kind is refused for every use."""
    with pytest.raises(BadKey):
        signing.sign(pem, *OF)
    with pytest.raises(BadKey):
        signing.key_document(pem)


def spki(key) -> str:
    """A public key as key documents have it."""
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(der).decode()


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "!",
        "AAAA",
        spki(ec.generate_private_key(ec.SECP384R1())),
        spki(ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["none", "empty", "no base64", "no key", "P-384", "Ed25519"],
)
def test_only_a_key_of_p256_verifies(key):
    """A key document without a sound P-256 key is refused, not taken for a wrong signature."""
    with pytest.raises(BadKey):
        signing.verify(DOCUMENT | {"key": key}, {"keyid": DOCUMENT["keyid"], "sig": SIG}, *OF)


def test_a_bundle_is_signed_by_one_key() -> None:
    """A signature of a manifest is the same each time, and good for that key and those bytes."""
    pem, other = signing.new_bundle_key(), signing.new_bundle_key()
    key = signing.bundle_key(pem)

    signature = signing.sign_bundle(pem, b"{}")

    assert signature == signing.sign_bundle(pem, b"{}")
    assert signing.has_signed_bundle(key, b"{}", signature)
    assert not signing.has_signed_bundle(key, b"{ }", signature)
    assert not signing.has_signed_bundle(signing.bundle_key(other), b"{}", signature)
    assert not signing.has_signed_bundle(key, b"{}", "no base64!")


def test_keys_of_bundles_are_told_from_others() -> None:
    """Only `ed25519:` and 32 bytes in base64 is a public key, only such a PEM a private one."""
    key = signing.bundle_key(signing.new_bundle_key())

    assert signing.is_bundle_key(key)
    for text in ("", "ed25519:", key[:-4], key.upper(), key.removeprefix("ed25519:"), f"{key} "):
        assert not signing.is_bundle_key(text)
    with pytest.raises(signing.BadKey, match="not one of Ed25519"):
        signing.bundle_key(signing.new_key())
    with pytest.raises(signing.BadKey, match="cannot be read"):
        signing.sign_bundle(b"no pem", b"{}")
