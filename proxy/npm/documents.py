"""The document of a PUT, taken apart as far as it is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.npm import ranges, wire
from proxy.npm.names import PackageName
from proxy.npm.wire import NULL, Raw

LONGEST_TAG = 256  # characters: what an address may carry of it


class BadPublish(ValueError):
    """A body that cannot be done as asked. `reason` says why, `field` where ("" for the whole)."""

    def __init__(self, reason: str, field: str) -> None:
        self.reason = reason
        self.field = field
        super().__init__(f"{field}: {reason}" if field else reason)


class Document:
    """The metadata of a PUT: the fields at the top, versions, attachments and dist-tags."""

    def __init__(self, metadata: bytes) -> None:
        self.fields = object_of(metadata, "")
        self.versions = self._part("versions")
        self.attachments = self._part("_attachments")
        self.tags = {
            tag: needed_text(raw, "dist-tags") for tag, raw in self._part("dist-tags").items()
        }

    def _part(self, key: str) -> dict[str, Raw]:
        raw = self.fields.get(key, NULL)
        return {} if bytes(raw) == b"null" else object_of(raw, key)

    def text(self, key: str) -> str | None:
        """A string at the top; None if there is none."""
        return wire.text(self.fields.get(key, NULL))

    def text_or_null(self, key: str) -> str | None:
        """A string or null at the top. Raises BadPublish for anything else."""
        raw = at(self.fields, key)
        return None if bytes(raw) == b"null" else needed_text(raw, key)

    def loaded(self, key: str) -> Any:
        """The value at the top, decoded. Raises BadPublish."""
        try:
            return wire.loads(self.fields[key])
        except wire.Undecodable as error:
            raise BadPublish(f"the value cannot be read: {error}", key) from error

    def check_name(self, name: PackageName) -> None:
        """Raise BadPublish if the document says it is another package's."""
        for key in ("_id", "name"):
            if key in self.fields and self.text(key) != name.full:
                raise BadPublish(f"the document is not of {name.full!r}", key)

    def has_data(self) -> bool:
        """Whether an attachment has data, a string or not."""
        return any(
            "data" in object_of(raw, "_attachments")
            for raw in self.attachments.values()
            if bytes(raw).startswith(b"{")
        )


def check_tag(tag: str) -> None:
    """Raise BadPublish unless a dist-tag may be called so."""
    if not tag.strip() or tag != tag.strip() or ranges.is_range(tag):
        raise BadPublish(f"a dist-tag may not be a version or a range: {tag[:100]!r}", "dist-tags")
    if len(tag) > LONGEST_TAG or not tag.isprintable():
        reason = f"a dist-tag is one line of at most {LONGEST_TAG} characters: {tag[:100]!r}"
        raise BadPublish(reason, "dist-tags")


def object_of(raw: bytes | Raw, key: str) -> dict[str, Raw]:
    """The object these bytes are. Raises BadPublish."""
    try:
        if isinstance(raw, bytes):
            wire.check_text(raw)
        return wire.envelope(raw)
    except wire.Undecodable as error:
        raise BadPublish(f"not a JSON object: {error}", key) from error


def at(fields: Mapping[str, Raw], key: str) -> Raw:
    """A field, null if it is absent."""
    return fields.get(key, NULL)


def needed_text(raw: Raw, key: str) -> str:
    """The string these bytes are. Raises BadPublish."""
    text = wire.text(raw)
    if text is None:
        raise BadPublish("a value is not a string", key)
    return text
