"""Where things are kept, by the layout of the data folder.

What is mirrored may be thrown away and fetched again; what is hosted (`hosted.sqlite` and the
folder `hosted`) is never evicted, and is what a backup is made of.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from proxy.config.settings import Config
from proxy.errors import StorageCorrupt
from proxy.registry.hosting.upkeep import HostedUpkeep
from proxy.registry.mirroring.upkeep import Bounds, Upkeep
from proxy.storage.cache import Cache
from proxy.storage.database import Database
from proxy.storage.files import FileBlobs
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.keyring import FileKeyring
from proxy.storage.leases import FileLeases
from proxy.storage.offline import SqliteOffline
from proxy.storage.people import SqlitePeople
from proxy.storage.press import Press
from proxy.storage.sqlite import SqliteIndex

_INDEX = "index.sqlite"
_HOSTED = "hosted.sqlite"
_KEYS = "keys"


def utcnow() -> datetime:
    """The clock of the product."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where things are kept, by the layout of the data folder."""

    folder: Path
    index: SqliteIndex
    blobs: FileBlobs
    cache: Cache
    leases: FileLeases
    press: Press
    offline: SqliteOffline
    upkeep: Upkeep
    database: Database
    hosted: SqliteHosted
    people: SqlitePeople
    hosted_blobs: FileBlobs
    hosted_upkeep: HostedUpkeep
    keyring: FileKeyring

    @classmethod
    def of(
        cls,
        config: Config,
        *,
        clock: Callable[[], datetime] = utcnow,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Storage:
        """The storage of this configuration, not open yet."""
        folder = config.storage.path
        index = SqliteIndex(folder / _INDEX, clock=clock)
        blobs = FileBlobs(folder)
        leases = FileLeases(folder / "leases.lock")
        cache = Cache(folder / "cache", size_limit_bytes=config.cache.rendered_size_bytes)
        database = open_database(folder / _HOSTED, clock=clock)
        hosted, hosted_blobs = SqliteHosted(database), FileBlobs(folder / "hosted")
        return cls(
            folder=folder,
            index=index,
            blobs=blobs,
            cache=cache,
            leases=leases,
            press=Press(blobs=blobs),
            offline=SqliteOffline(index.database),
            upkeep=Upkeep(
                index=index,
                blobs=blobs,
                cache=cache,
                leases=leases,
                bounds=Bounds(
                    max_bytes=config.cache.max_size_bytes,
                    min_free_bytes=config.cache.min_free_bytes,
                ),
                clock=clock,
                monotonic=monotonic,
            ),
            database=database,
            hosted=hosted,
            people=SqlitePeople(database),
            hosted_blobs=hosted_blobs,
            hosted_upkeep=HostedUpkeep(
                hosted=hosted, blobs=hosted_blobs, leases=leases, clock=clock
            ),
            keyring=FileKeyring(folder / _KEYS, clock=clock),
        )

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether `folder` is a data folder."""
        return (folder / _INDEX).exists()

    async def open(self, stack: AsyncExitStack) -> None:
        """Open everything but the keys, which serving needs; the stack closes it in reverse.

        Raises StorageCorrupt where the database of what was published is not there and what goes
        with it is: a new one in its place would have neither packages nor users.
        """
        _require_whole(self.folder)
        for part in (
            self.blobs,
            self.index,
            self.leases,
            self.cache,
            self.press,
            self.database,
            self.hosted_blobs,
        ):
            await stack.enter_async_context(part)


def _require_whole(folder: Path) -> None:
    # The keys are made after the database, so this order is right beside a first start.
    has_keys = (folder / _KEYS).is_dir() and any((folder / _KEYS).iterdir())
    if has_keys and not (folder / _HOSTED).exists():
        raise StorageCorrupt(
            reason=f"{_HOSTED} is not in {folder}, where packages and users were kept: put it back "
            f"from your latest backup; or, to begin anew without them, move the folders {_KEYS} "
            "and hosted away"
        )
