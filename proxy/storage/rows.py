"""Rows of the SQLite index to the records of base.py and back.

Instants are integer microseconds since 1970.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.npm.forms import Form
from proxy.storage.base import DocumentRecord, PackumentRecord, TarballRecord

Row = tuple[Any, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Return the whole microseconds of an aware instant since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(micros: int) -> datetime:
    """Undo `micros`."""
    return _EPOCH + micros * _MICROSECOND


def of_packument(record: PackumentRecord) -> Row:
    """Return the row of `record`, its columns in the order of the record's fields."""
    missing_since = None if record.missing_since is None else micros(record.missing_since)
    return (
        *(record.uplink, record.name, record.form.value, record.body_form.value),
        *(record.digest, record.revision, record.size_bytes, record.etag, record.last_modified),
        *(micros(record.modified_at), micros(record.fetched_at), micros(record.checked_at)),
        missing_since,
    )


def packument(row: Row) -> PackumentRecord:
    """Undo `of_packument`."""
    uplink, name, form, body_form, digest, revision, size, etag, last_modified, *times = row
    missing_since = None if times[3] is None else instant(times[3])
    return PackumentRecord(
        *(uplink, name, Form(form), Form(body_form), digest, revision, size, etag, last_modified),
        *(instant(times[0]), instant(times[1]), instant(times[2]), missing_since),
    )


def of_tarball(record: TarballRecord) -> Row:
    """Return the row of `record`, its columns in the order of the record's fields."""
    return (
        *(record.uplink, record.name, record.file, record.version, record.digest),
        *(record.size_bytes, micros(record.stored_at), micros(record.used_at)),
    )


def tarball(row: Row) -> TarballRecord:
    """Undo `of_tarball`."""
    uplink, name, file, version, digest, size_bytes, stored_at, used_at = row
    times = (instant(stored_at), instant(used_at))
    return TarballRecord(uplink, name, file, version, digest, size_bytes, *times)


def of_document(record: DocumentRecord) -> Row:
    """Return the row of `record`, its columns in the order of the record's fields."""
    facts = (record.uplink, record.path, record.digest, record.size_bytes)
    return (*facts, micros(record.fetched_at))


def document(row: Row) -> DocumentRecord:
    """Undo `of_document`."""
    uplink, path, digest, size_bytes, fetched_at = row
    return DocumentRecord(uplink, path, digest, size_bytes, instant(fetched_at))
