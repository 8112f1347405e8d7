"""Signatures of versions published here, and of bundles: the door to cryptography.

npm signs `name@version:integrity` with ECDSA on P-256 and SHA-256, and clients look up the key at
`/-/npm/v1/keys`. The address of the tarball is no part of it, so it may be rewritten. Source: npm's
documentation of registry signatures, and what `npm audit signatures` checks.

A bundle (bundles.py) is signed with Ed25519, whose signatures of the same bytes are the same. Its
public key is written `ed25519:` and the 32 bytes in base64.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from proxy.npm.names import PackageName

KEY_TYPE = "ecdsa-sha2-nistp256"

_BUNDLE_KEY = "ed25519:"
# Before what is signed, so that no signature of something else is one of a bundle.
_BUNDLE = b"packhouse bundle\n"
_DIGEST = ec.ECDSA(hashes.SHA256())
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


class BadKey(ValueError):
    """The key cannot be used: it is unreadable, encrypted, or not one of P-256."""


def new_key() -> bytes:
    """A new private key as PEM (PKCS #8, not encrypted): whoever has it signs as this registry."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def key_document(pem: bytes, *, expires_at: datetime | None = None) -> dict[str, str | None]:
    """The public half as clients find it: `{expires, keyid, keytype, scheme, key}`.

    `expires` is null for a key in use. Raises BadKey.
    """
    der = _der(_private(pem))
    return {
        "expires": None if expires_at is None else _iso(expires_at),
        "keyid": _keyid(der),
        "keytype": KEY_TYPE,
        "scheme": KEY_TYPE,
        "key": base64.b64encode(der).decode("ascii"),
    }


def sign(pem: bytes, name: PackageName, version: str, integrity: str) -> dict[str, str]:
    """The entry for `dist.signatures`: `{keyid, sig}`. Each call gives another one, equally good.

    `integrity` is the version's `dist.integrity`, exactly. Raises BadKey.
    """
    key = _private(pem)
    signature = key.sign(_message(name, version, integrity), _DIGEST)
    return {"keyid": _keyid(_der(key)), "sig": base64.b64encode(signature).decode("ascii")}


def verify(
    document: Mapping[str, str | None],
    signature: Mapping[str, str],
    name: PackageName,
    version: str,
    integrity: str,
) -> bool:
    """Whether a signature is that key's, and of this version with this integrity.

    `document` is as `key_document` gives it, our own or an uplink's. Raises BadKey.
    """
    key = _public(document.get("key") or "")
    try:
        raw = base64.b64decode(signature.get("sig", ""), validate=True)
        key.verify(raw, _message(name, version, integrity), _DIGEST)
    except (ValueError, InvalidSignature):
        return False
    return signature.get("keyid") == document.get("keyid")


def new_bundle_key() -> bytes:
    """A new private key for bundles as PEM (PKCS #8, not encrypted)."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def bundle_key(pem: bytes) -> str:
    """The public half of a bundle's key, `ed25519:<base64>`. Raises BadKey."""
    raw = _private_bundle_key(pem).public_key().public_bytes_raw()
    return _BUNDLE_KEY + base64.b64encode(raw).decode("ascii")


def sign_bundle(pem: bytes, manifest: bytes) -> str:
    """The signature of a bundle's manifest, base64. Raises BadKey."""
    signature = _private_bundle_key(pem).sign(_BUNDLE + manifest)
    return base64.b64encode(signature).decode("ascii")


def is_bundle_key(text: str) -> bool:
    """Whether this is a public key as `bundle_key` writes it."""
    try:
        _public_bundle_key(text)
    except BadKey:
        return False
    return True


def has_signed_bundle(key: str, manifest: bytes, signature: str) -> bool:
    """Whether a signature of a manifest is that key's. Raises BadKey."""
    public = _public_bundle_key(key)
    try:
        public.verify(base64.b64decode(signature, validate=True), _BUNDLE + manifest)
    except (ValueError, InvalidSignature):
        return False
    return True


def _message(name: PackageName, version: str, integrity: str) -> bytes:
    return f"{name.full}@{version}:{integrity}".encode()


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except _UNREADABLE as error:
        raise BadKey(f"the signing key cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadKey("the signing key is not an elliptic curve key of P-256")
    return key


def _private_bundle_key(pem: bytes) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except _UNREADABLE as error:
        raise BadKey(f"the key for bundles cannot be read: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey("the key for bundles is not one of Ed25519")
    return key


def _public_bundle_key(text: str) -> Ed25519PublicKey:
    try:
        raw = base64.b64decode(text.removeprefix(_BUNDLE_KEY), validate=True)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except _UNREADABLE as error:
        raise BadKey(f"the public key for bundles cannot be read: {error}") from error
    if text != _BUNDLE_KEY + base64.b64encode(raw).decode("ascii"):
        raise BadKey("a public key for bundles is written ed25519: and 32 bytes in base64")
    return key


def _public(text: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except _UNREADABLE as error:
        raise BadKey(f"the public key cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadKey("the public key is not an elliptic curve key of P-256")
    return key


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _keyid(der: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(der).digest()).decode("ascii")
    return f"SHA256:{digest.rstrip('=')}"
