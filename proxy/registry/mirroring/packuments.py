"""Packuments, manifests and dist-tags as clients get them: found, rendered once, and kept.

A rendered document depends on the revision of the body, the form, the base URL and the renderer,
and on nothing else; its ETag is made of these four, so it names the bytes before they exist. Memory
(`Hot`) keeps documents until the copy they are made of is no longer fresh; the disk (`Cache`) keeps
them by ETag, for the next process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from proxy import errors
from proxy.npm import encoding, render
from proxy.npm.forms import CONTENT_TYPES, Form
from proxy.npm.names import PackageName
from proxy.registry.answers import CacheState, Document, Finished, Freshness, Stored, plain
from proxy.registry.bases import Bases
from proxy.registry.flights import Flights
from proxy.registry.hot import Hot
from proxy.registry.mirroring.mirror import Copy
from proxy.registry.mirroring.narrowing import Narrowing
from proxy.registry.routing import Routing
from proxy.storage.cache import Cache
from proxy.storage.press import BodyLost, Press, Rendered

# A version that our copy does not list is asked for once more, unless the copy is younger than
# this.
_BELIEVED_FOR = timedelta(seconds=5)
_SECOND = timedelta(seconds=1)

# How long a stale copy is sent offline until its age is judged again.
_STALE_FOR = timedelta(seconds=10)
# What is made of a body (gzip) up to this size is made again in less time than the disk's cache
# takes to keep it.
_QUICK_BYTES = 16 * 1024

T = TypeVar("T")


class Packuments:
    """Every packument this registry can serve."""

    def __init__(
        self,
        *,
        routing: Routing,
        press: Press,
        cache: Cache,
        hot: Hot[Finished],
        bases: Bases,
        narrowing: Narrowing,
        clock: Callable[[], datetime],
    ) -> None:
        self._routing = routing
        self._press = press
        self._cache = cache
        self._hot = hot
        self._bases = bases
        self._narrowing = narrowing
        self._clock = clock
        self._rendering: Flights[str, bytes | Rendered] = Flights()
        self._chores: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Finish what is being kept."""
        await self._rendering.close()
        await self._narrowing.close()
        await asyncio.gather(*self._chores, return_exceptions=True)

    async def document(
        self, name: PackageName, form: Form, base_url: str, request_id: str = ""
    ) -> Document:
        """The packument of `name` in `form`, gzip, its tarballs under `base_url`.

        Raises PackageNotFound, or an UplinkError if the uplink cannot be asked and nothing is held.
        """
        finished = await self._hot.get(name.full, (form, base_url))
        fresh = self._fresh(finished)
        if fresh is not None:
            return fresh
        as_of, revision = self._hot.sequence, self._hot.revision

        async def rendered(copy: Copy) -> Document:
            tag = render.etag(copy.record.revision, form.value, base_url, str(render.RENDERER))
            if copy.absence is not None:
                return await self._narrowing.document(copy, name, form, base_url, tag)
            is_same = finished is not None and finished.document.etag == tag
            body = (
                finished.document.body
                if finished and is_same
                else await self._body(tag, copy, form, base_url)
            )
            return _packument(body, tag, copy, form)

        copy, document = await self._made(name, form, request_id, rendered)
        kept = self._finished(copy, document, revision)
        if kept is not None and isinstance(document.body, bytes) and self._bases.admit(base_url):
            self._hot.put(name.full, (form, base_url), kept, len(document.body), as_of=as_of)
        return document

    async def at_hand(self, name: PackageName, form: Form, base_url: str) -> Document | None:
        """The packument, if it is finished in memory and still fresh. Never waits."""
        return self._fresh(await self._hot.get(name.full, (form, base_url)))

    def _fresh(self, finished: Finished | None) -> Document | None:
        now = self._clock()
        # One from the future means that the clock was set back; the mirror knows what to do.
        if finished is None or not finished.checked_at <= now < finished.fresh_until:
            return None
        if finished.revision is None:
            is_good = finished.presence.absence is None
        else:
            is_good = finished.revision == self._hot.revision
        return _aged(finished, now) if is_good else None

    def _finished(self, copy: Copy, document: Document, revision: int | None) -> Finished | None:
        """What may be sent again without asking; nothing while the uplink is away: it is asked."""
        fresh_until = copy.fresh_until
        if copy.absence is None:
            return Finished(document, copy.record.checked_at, fresh_until, copy.presence)
        if not copy.absence.is_offline:
            return None
        if copy.freshness.state is CacheState.STALE:
            fresh_until = self._clock() + _STALE_FOR
        return Finished(document, copy.record.checked_at, fresh_until, copy.presence, revision)

    async def manifest(
        self, name: PackageName, spec: str, base_url: str, request_id: str = ""
    ) -> Document:
        """The manifest of a version or dist-tag, identity JSON. Raises VersionNotFound."""
        tag_parts = (spec, base_url, str(render.RENDERER))

        async def made(copy: Copy) -> Document | None:
            if copy.absence is not None:
                tag = render.etag(copy.record.revision, *tag_parts)
                return await self._narrowing.manifest(copy, name, spec, base_url, tag)
            body = await self._press.manifest(copy.record, name, spec, base_url)
            return None if body is None else _small(body, copy, *tag_parts)

        _, document = await self._made(name, Form.FULL, request_id, made, spec=spec)
        if document is None:
            # It may have been published since: ask once more before saying no.
            not_before = self._clock() - _BELIEVED_FOR
            _, document = await self._made(
                name, Form.FULL, request_id, made, not_before=not_before, spec=spec
            )
        if document is None:
            raise errors.VersionNotFound(name=name.full, version=spec)
        return document

    async def dist_tags(self, name: PackageName, request_id: str = "") -> Document:
        """`{tag: version}`, identity JSON."""

        async def made(copy: Copy) -> Document:
            if copy.absence is not None:
                tag = render.etag(copy.record.revision, "dist-tags")
                return await self._narrowing.dist_tags(copy, tag)
            return _small(await self._press.dist_tags(copy.record, name), copy, "dist-tags")

        _, document = await self._made(name, Form.ABBREVIATED, request_id, made)
        return document

    # --- making it --------------------------------------------------------------------------------

    async def _made(
        self,
        name: PackageName,
        form: Form,
        request_id: str,
        make: Callable[[Copy], Awaitable[T]],
        *,
        not_before: datetime | None = None,
        spec: str = "",
    ) -> tuple[Copy, T]:
        """What `make` makes of our copy; if the copy's body turns out to be lost, of a new one.

        `spec` is the version or dist-tag that is wanted of it.
        """
        mirror = await self._routing.mirror(name)

        async def copied() -> Copy:
            try:
                return await mirror.packument(
                    name, form, request_id=request_id, not_before=not_before
                )
            except errors.UplinkError:
                self._narrowing.note(mirror.uplink, name, spec)
                raise

        copy = await copied()
        try:
            return copy, await make(copy)
        except BodyLost:
            await mirror.forget(copy.record)
        copy = await copied()
        return copy, await make(copy)

    async def _body(self, tag: str, copy: Copy, form: Form, base_url: str) -> bytes | Stored:
        """The rendered bytes: from the cache, or rendered now, once for all who wait."""
        # What has come just now was rendered by nobody yet: two looks at the disk for nothing.
        is_new = copy.freshness.state is CacheState.MISS
        if copy.record.size_bytes > _QUICK_BYTES and not is_new:
            kept = await self._cache.get(tag) or await self._cache.open(tag)
            if kept is not None:
                return kept
        flight = self._rendering.join(tag, lambda: self._render(tag, copy, form, base_url))
        rendered = await asyncio.shield(flight)
        if isinstance(rendered, bytes):
            return rendered
        return await self._cache.open(tag) or await rendered.read()

    async def _render(self, tag: str, copy: Copy, form: Form, base_url: str) -> bytes | Rendered:
        rendered = await self._press.render(copy.record, form=form, base_url=base_url)
        if copy.record.size_bytes <= _QUICK_BYTES or not self._bases.admit(base_url):
            return rendered
        if isinstance(rendered, bytes):
            # Kept behind the answer: the client does not wait for our disk.
            self._chore(self._cache.put(tag, rendered))
        else:
            await self._cache.put_file(tag, rendered.path)
        return rendered

    def _chore(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def _packument(body: bytes | Stored, tag: str, copy: Copy, form: Form) -> Document:
    if isinstance(body, bytes):
        identity_bytes = encoding.identity_size(body)
    else:
        identity_bytes = body.identity_bytes
    return Document(
        body=body,
        is_gzip=True,
        identity_bytes=identity_bytes,
        etag=tag,
        modified_at=copy.record.modified_at,
        content_type=CONTENT_TYPES[form],
        freshness=copy.freshness,
        form=form,
    )


def _small(body: bytes, copy: Copy, *tag_parts: str) -> Document:
    return plain(
        body,
        copy.freshness,
        etag=render.etag(copy.record.revision, *tag_parts),
        modified_at=copy.record.modified_at,
    )


def _aged(finished: Finished, now: datetime) -> Document:
    """The document as it is, but older, to the second."""
    before, last = finished.document.freshness, finished.last
    age = max(now - finished.checked_at, timedelta(0))
    if last is not None and timedelta(0) <= age - last.freshness.age < _SECOND:
        return last
    # One whose package is in doubt stays marked, however it was found.
    state = CacheState.STALE if before.state is CacheState.STALE else CacheState.HIT
    freshness = Freshness(state, age, before.uplink, before.reason)
    finished.last = replace(finished.document, freshness=freshness)
    return finished.last
