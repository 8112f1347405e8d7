"""What we hold of one uplink's packuments: the records, and what each answer does to them.

An answer replaces what was held of its form; nothing is ever merged. What the new copy no longer
lists goes with it, the tarballs too: it may have been malware. A 404 is believed when it has come
twice, `negative_age` apart; until then the record is doubted and goes on being sent.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from proxy.npm import integrity
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.storage.base import Index, PackumentRecord, TarballRecord
from proxy.storage.press import Press
from proxy.upstream.base import NotModified

_log = logging.getLogger(__name__)

_OTHER = {Form.FULL: Form.ABBREVIATED, Form.ABBREVIATED: Form.FULL}


class Holdings:
    """The records of one uplink."""

    def __init__(self, *, uplink: str, index: Index, press: Press, negative_age: timedelta) -> None:
        self._uplink = uplink
        self._index = index
        self._press = press
        self._negative_age = negative_age

    # --- looking ----------------------------------------------------------------------------------

    async def best(self, name: PackageName, form: Form) -> PackumentRecord | None:
        """The record to serve `form` from.

        A full copy serves the abbreviated form too, if it is the younger one.
        """
        full = await self._record(name.full, Form.FULL)
        if form is Form.FULL:
            return full
        abbreviated = await self._record(name.full, Form.ABBREVIATED)
        if full is None or abbreviated is None:
            return abbreviated or full
        return full if full.checked_at >= abbreviated.checked_at else abbreviated

    async def revalidatable(self, name: PackageName, form: Form) -> PackumentRecord | None:
        """The record whose validators may be sent.

        Without its body, a 304 would leave us with nothing.
        """
        held = await self._record(name.full, form)
        return held if held is not None and await self._press.has(held) else None

    # --- what an answer does ----------------------------------------------------------------------

    async def keep(self, record: PackumentRecord, name: PackageName) -> None:
        """The uplink has sent a new document: it takes the place of the old one."""
        before = await self._record(record.name, record.form)
        await self._index.put_packument(record)
        if record.form is Form.ABBREVIATED and record.body_form is Form.FULL:
            # The uplink knows no abbreviated form: what came is as good as an answer to the full
            # question.
            await self._index.put_packument(replace(record, form=Form.FULL))
        else:
            await self._trust_other(record)
        if before is None or before.revision != record.revision:
            await self._withdraw(record, before, name)

    async def touch(
        self, held: PackumentRecord, answer: NotModified, now: datetime
    ) -> PackumentRecord:
        """The uplink says that what we hold is current."""
        touched = replace(
            held,
            checked_at=now,
            missing_since=None,
            etag=answer.etag,
            last_modified=answer.last_modified,
        )
        await self._index.put_packument(touched)
        full = await self._record(held.name, Form.FULL)
        is_same = full is not None and full.revision == held.revision
        if full is not None and is_same and held.form is Form.ABBREVIATED:
            await self._index.put_packument(replace(full, checked_at=now, missing_since=None))
        else:
            await self._trust_other(touched)
        return touched

    async def doubt(self, held: PackumentRecord, now: datetime) -> PackumentRecord | None:
        """The uplink says that there is no such package: the record, doubted; None if it went."""
        since = held.missing_since or now
        if now - since < self._negative_age:
            doubted = replace(held, missing_since=since)
            await self._index.put_packument(doubted)
            _log.warning("uplink has lost a package, asking once more", extra=_facts(held))
            return doubted
        await self._index.drop_packuments(held.name, self._uplink)
        for tarball in await self._tarballs(held.name):
            await self._index.drop_tarball(held.name, tarball.file)
        _log.warning("package withdrawn by the uplink", extra=_facts(held))
        return None

    async def forget(self, lost: PackumentRecord) -> None:
        """Drop a record whose body is lost or damaged, so that the next request asks again."""
        held = await self._record(lost.name, lost.form)
        if held is None or held.digest != lost.digest:
            return  # somebody has asked again already
        _log.warning("body lost, asking again", extra=_facts(lost))
        for digest in await self._index.drop_packuments(lost.name, self._uplink):
            # A damaged body of the right size would pass for the one that comes in its place.
            await self._press.discard(digest)

    async def distrust(self, name: PackageName) -> list[Form]:
        """Forget the validators: the next answer has to be whole. Returns the forms held."""
        held = [await self._record(name.full, form) for form in Form]
        records = [record for record in held if record is not None]
        for record in records:
            await self._index.put_packument(replace(record, etag=None, last_modified=None))
        return [record.form for record in records]

    # --- parts ------------------------------------------------------------------------------------

    async def _record(self, name: str, form: Form) -> PackumentRecord | None:
        return await self._index.packument(self._uplink, name, form)

    async def _tarballs(self, name: str) -> list[TarballRecord]:
        held = await self._index.tarballs(name)
        return [tarball for tarball in held if tarball.uplink == self._uplink]

    async def _trust_other(self, record: PackumentRecord) -> None:
        """The package is there after all: a doubt of the other form is none any more."""
        other = await self._record(record.name, _OTHER[record.form])
        if other is not None and other.missing_since is not None:
            await self._index.put_packument(replace(other, missing_since=None))

    async def _withdraw(
        self, record: PackumentRecord, before: PackumentRecord | None, name: PackageName
    ) -> None:
        """Let go of tarballs that the new document does not promise any more."""
        if before is not None and record.modified_at < before.modified_at:
            _log.warning("uplink went back in time", extra=_facts(record))
        for tarball in await self._tarballs(name.full):
            if not await self._is_promised(record, name, tarball):
                await self._index.drop_tarball(name.full, tarball.file)
                _log.warning(
                    "version withdrawn by the uplink",
                    extra={**_facts(record), "version": tarball.version},
                )

    async def _is_promised(
        self, record: PackumentRecord, name: PackageName, tarball: TarballRecord
    ) -> bool:
        dist = await self._press.dist(record, name, tarball.file)
        if dist is None:
            return False
        expected = integrity.parse(dist.integrity, dist.shasum)
        return expected is None or expected.sha512_hex in (None, tarball.digest)


def _facts(record: PackumentRecord) -> dict[str, object]:
    return {"package": record.name, "uplink": record.uplink}
