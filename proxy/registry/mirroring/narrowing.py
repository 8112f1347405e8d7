"""What is sent while an uplink is not to be had: what can be installed, and nothing else.

    here       the uplink answers, or is only slow      the whole document
    away       its last word says nobody is there       narrowed to the tarballs we hold
    offline    the operator says so                     narrowed, and nobody is asked

Which it is stands in a copy's `absence` (mirror.py, upstream/presence.py). A narrowed document is
made of the whole one and of which versions are held; its ETag names both, so that a client's copy
of the whole one is none of it, and it has no Last-Modified, which would be the whole one's. Where
all versions are held it is the whole one, with that one's ETag and date.

What is held is read from the Index each time: one look-up. So a tarball that is stored, evicted or
carried here shows at the next request, and nothing has to be thrown away. In memory a narrowed
document lies under a key that names what is held; on disk it is not kept. While we are offline the
finished one also lies where hits look, and is good until anybody commits anything to the Index.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from proxy import errors
from proxy.npm import encoding, render
from proxy.npm.forms import CONTENT_TYPES, JSON_TYPE, Form
from proxy.npm.names import PackageName
from proxy.registry.answers import Document, Finished, Withheld
from proxy.registry.bases import Bases
from proxy.registry.flights import Flights
from proxy.registry.hot import Hot
from proxy.registry.mirroring.mirror import Copy
from proxy.registry.mirroring.missing import MissingNotes
from proxy.storage.base import Index
from proxy.storage.press import Press
from proxy.storage.pressing import Shown
from proxy.upstream.base import Uplink

_NARROWED = "narrowed"


class Narrowing:
    """Narrowed documents of copies that say why their uplink is not to be had."""

    def __init__(
        self,
        *,
        index: Index,
        press: Press,
        hot: Hot[Finished],
        bases: Bases,
        missing: MissingNotes,
    ) -> None:
        self._index = index
        self._press = press
        self._hot = hot
        self._bases = bases
        self._missing = missing
        self._making: Flights[str, Shown] = Flights()

    async def close(self) -> None:
        """End what is being made."""
        await self._making.close()

    async def document(
        self, copy: Copy, name: PackageName, form: Form, base_url: str, whole_tag: str
    ) -> Document:
        """The packument with the versions that are held, gzip; maybe without any.

        `whole_tag` is the ETag of the whole one, here as below.
        """
        held = await self._held(copy)
        key, as_of = _tag(whole_tag, held), self._hot.sequence
        kept = await self._hot.get(name.full, key)
        if kept is not None:
            document = _renewed(kept.document, copy)
        else:
            shown = await self._shown(key, copy, held, {"form": form.value, "base_url": base_url})
            document = _document(shown, copy, key, whole_tag, form)
            finished = Finished(document, copy.record.checked_at, copy.fresh_until, copy.presence)
            if self._bases.admit(base_url):
                self._hot.put(name.full, key, finished, len(shown.body or b""), as_of=as_of)
        if document.withheld is not None and not document.withheld.shown:
            self._missing.note(name.full)
        return document

    async def manifest(
        self, copy: Copy, name: PackageName, spec: str, base_url: str, whole_tag: str
    ) -> Document:
        """The manifest of a version that is held, or of a dist-tag as it is repaired.

        Raises UplinkAway for any other: whether there is one, nobody can say now.
        """
        held = await self._held(copy)
        tag = _tag(whole_tag, held)
        shown = await self._shown(tag, copy, held, {"spec": spec, "base_url": base_url})
        if shown.body is None:
            self._missing.note(name.full, spec)
            uplink, reason = copy.freshness.uplink, copy.absence.reason if copy.absence else ""
            raise errors.UplinkAway(
                uplink=uplink, reason=f"{reason}; {name.full}@{spec} is not held"
            )
        return _document(shown, copy, tag, whole_tag)

    async def dist_tags(self, copy: Copy, whole_tag: str) -> Document:
        """`{tag: version}` with tags that lead to what is held."""
        held = await self._held(copy)
        tag = _tag(whole_tag, held)
        return _document(await self._shown(tag, copy, held, {}), copy, tag, whole_tag)

    def note(self, uplink: Uplink, name: PackageName, spec: str = "") -> None:
        """Note what was asked for in vain, if that is because the uplink is not to be had."""
        if uplink.absence is not None:
            self._missing.note(name.full, spec)

    async def _held(self, copy: Copy) -> frozenset[str]:
        records = await self._index.tarballs(copy.record.name)
        return frozenset(each.version for each in records if each.uplink == copy.record.uplink)

    async def _shown(
        self, tag: str, copy: Copy, held: frozenset[str], view: Mapping[str, str]
    ) -> Shown:
        making = self._making.join(tag, lambda: self._press.narrowed(copy.record, held, view))
        return await asyncio.shield(making)


def _tag(whole_tag: str, held: frozenset[str]) -> str:
    return render.etag(whole_tag, _NARROWED, *sorted(held))


def _renewed(document: Document, copy: Copy) -> Document:
    """A document that was made before, as it is today."""
    withheld = document.withheld
    if withheld is not None:
        withheld = replace(withheld, is_offline=_is_offline(copy))
    return replace(document, freshness=copy.freshness, withheld=withheld)


def _is_offline(copy: Copy) -> bool:
    return copy.absence is not None and copy.absence.is_offline


def _document(
    shown: Shown, copy: Copy, tag: str, whole_tag: str, form: Form | None = None
) -> Document:
    """What is shown; a packument if it has a form, which is gzip."""
    body, is_offline = shown.body or b"", _is_offline(copy)
    return Document(
        body=body,
        is_gzip=form is not None,
        identity_bytes=len(body) if form is None else encoding.identity_size(body),
        etag=whole_tag if shown.is_whole else tag,
        modified_at=copy.record.modified_at if shown.is_whole else None,
        content_type=JSON_TYPE if form is None else CONTENT_TYPES[form],
        freshness=copy.freshness,
        form=form,
        withheld=Withheld(shown.hidden, shown.shown, is_offline) if shown.hidden else None,
    )
