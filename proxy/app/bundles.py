"""Bundles: what makes, judges and takes them, on the parts of one configuration."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.app.storage import Storage, utcnow
from proxy.app.stories import Mirroring
from proxy.config.settings import Config
from proxy.registry.mirroring.upkeep import Bounds
from proxy.registry.offline.bundling import Bundling
from proxy.registry.offline.copies import Copies
from proxy.registry.offline.examining import Examining
from proxy.registry.offline.importing import Importing
from proxy.storage import bundle_key
from proxy.web.metrics import Metrics

_KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Bundles:
    """What makes bundles, judges them, and takes them in."""

    bundling: Bundling
    examining: Examining
    importing: Importing

    @classmethod
    def of(cls, config: Config, storage: Storage, mirroring: Mirroring) -> Bundles:
        """The stories of this configuration. Makes the key that signs bundles, if there is none."""
        index, blobs, leases = storage.index, storage.blobs, storage.leases
        copies = Copies(index=index, blobs=blobs)
        documents = mirroring.documents
        return cls(
            bundling=Bundling(
                index=index,
                blobs=blobs,
                leases=leases,
                copies=copies,
                documents=documents,
                rules=config.rules,
                addresses={each.name: each.url for each in config.uplinks},
                key=bundle_key.made(keys_folder(config)),
            ),
            examining=Examining(
                index=index,
                blobs=blobs,
                copies=copies,
                rules=config.rules,
                uplinks=[each.name for each in config.uplinks],
                bounds=Bounds(
                    max_bytes=config.cache.max_size_bytes,
                    min_free_bytes=config.cache.min_free_bytes,
                ),
            ),
            importing=Importing(
                index=index,
                blobs=blobs,
                leases=leases,
                press=storage.press,
                copies=copies,
                documents=documents,
                rules=config.rules,
                clock=utcnow,
            ),
        )


def keys_folder(config: Config) -> Path:
    """Where the key is that signs bundles."""
    return config.storage.path / _KEYS


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Bundles]:
    """The stories with everything they need open, beside a server or without one."""
    storage = Storage.of(config)
    mirroring = Mirroring.of(config, storage, Metrics(), clock=utcnow, monotonic=time.monotonic)
    async with AsyncExitStack() as stack:
        await storage.open(stack)
        await mirroring.open(stack)
        yield Bundles.of(config, storage, mirroring)
