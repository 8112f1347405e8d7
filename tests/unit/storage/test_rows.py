"""Rows of the index and records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from proxy.npm.forms import Form
from proxy.storage import rows
from proxy.storage.base import PackumentRecord, TarballRecord

instants = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))]))
texts = st.text(max_size=20)
sizes = st.integers(min_value=0, max_value=2**62)
packuments = st.builds(
    PackumentRecord,
    uplink=texts,
    name=texts,
    form=st.sampled_from(Form),
    body_form=st.sampled_from(Form),
    digest=texts,
    revision=texts,
    size_bytes=sizes,
    etag=st.none() | texts,
    last_modified=st.none() | texts,
    modified_at=instants,
    fetched_at=instants,
    checked_at=instants,
    missing_since=st.none() | instants,
)
tarballs = st.builds(
    TarballRecord,
    uplink=texts,
    name=texts,
    file=texts,
    version=texts,
    digest=texts,
    size_bytes=sizes,
    stored_at=instants,
    used_at=instants,
)


@given(packuments)
def test_packument_survives_its_row(record: PackumentRecord) -> None:
    """A packument's record is the same after it was a row, whatever its time zone was."""
    assert rows.packument(rows.of_packument(record)) == record


@given(tarballs)
def test_tarball_survives_its_row(record: TarballRecord) -> None:
    """A tarball's record is the same after it was a row."""
    assert rows.tarball(rows.of_tarball(record)) == record


@given(instants)
def test_instants_keep_their_microseconds(at: datetime) -> None:
    """An instant comes back equal, aware and in UTC."""
    back = rows.instant(rows.micros(at))

    assert (back, back.tzinfo) == (at, UTC)
