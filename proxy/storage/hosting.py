"""What the stories may ask of storage about packages that live here.

Hosted packages and people (identity.py) are kept by one database that is never thrown away. A write
that has returned is on disk; it has appended its row to the audit log in the same transaction.
Blobs come first: whoever publishes stores the tarball durably (`is_durable` of `Blobs`), then calls
`publish`, then answers. Instants are aware UTC datetimes; sizes are bytes; digests are sha512 in
hex.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from proxy.npm.updates import Change

Latest = Callable[[Sequence[str]], str]
"""Picks the version that `latest` moves to, of those that remain (never empty).

npm's order decides: the highest that is no prerelease, or the highest of all.
"""


class Access(Enum):
    """Who may read a package: everybody, or whom its grants name."""

    PUBLIC = "public"
    RESTRICTED = "restricted"


class Action(Enum):
    """What an audit row is about; its facts say more."""

    PUBLISH = "publish"
    DEPRECATE = "deprecate"
    UNPUBLISH = "unpublish"
    TAG = "tag"
    OWNER = "owner"
    STAR = "star"
    README = "readme"
    ACCESS = "access"
    USER = "user"
    TEAM = "team"
    PERMISSION = "permission"
    TOKEN = "token"
    LOGIN = "login"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Deed:
    """Somebody doing something: who, when, from where, and with which token (its key)."""

    user: str
    at: datetime
    client_ip: str | None = None
    token_key: str | None = None


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version to publish, checked and screened by the caller; its blob is stored already.

    `manifest` is the JSON object as it is to be sent, without `readme`; `dist.tarball` in it is
    rewritten when it is rendered. `file` is the tarball's file name. `tag` is the dist-tag to set.
    `is_first` says that there was no such package when its publisher was judged.
    `access` applies to a package that is new (None: public). `excerpt` is a JSON object of what
    search repeats of the manifest: author, license, homepage, repository, bugs.
    """

    name: str
    version: str
    tag: str
    manifest: bytes
    file: str
    digest: str
    size_bytes: int
    integrity: str
    shasum: str
    is_first: bool = False
    access: Access | None = None
    readme: str | None = None
    readme_filename: str | None = None
    attestations: bytes | None = None
    description: str = ""
    keywords: tuple[str, ...] = ()
    excerpt: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class HostedVersion:
    """One published version. `manifest` is what was published; `deprecated` goes on top of it."""

    version: str
    manifest: bytes
    file: str
    digest: str
    size_bytes: int
    integrity: str
    shasum: str
    published_at: datetime
    published_by: str
    deprecated: str | None
    has_attestations: bool


@dataclass(frozen=True, slots=True)
class HostedPackage:
    """All of a package, as of one moment; versions in the order in which they were published.

    `revision` (a number, `-`, 32 hex digits) is its `_rev`, another after every write. `tags` has a
    `latest`, whose version the readme is of. Owners come in the order they were set in, stars
    sorted.
    """

    name: str
    revision: str
    access: Access
    created_at: datetime
    modified_at: datetime
    owners: tuple[str, ...]
    stars: tuple[str, ...]
    tags: Mapping[str, str]
    versions: tuple[HostedVersion, ...]
    readme: str | None
    readme_filename: str | None


@dataclass(frozen=True, slots=True)
class HostedHead:
    """What decides who may do what with a name.

    There is one for every name ever published here. Who wholly unpublished a package still owns its
    name: `unpublished_at` says when that was, and is None while the package has versions.
    """

    name: str
    revision: str
    access: Access
    owners: tuple[str, ...]
    unpublished_at: datetime | None


@dataclass(frozen=True, slots=True)
class HostedTarball:
    """The tarball of a published version."""

    name: str
    file: str
    version: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SearchRow:
    """What search needs of a package: of the version that `latest` names, and of its owners."""

    name: str
    version: str
    description: str
    keywords: tuple[str, ...]
    excerpt: bytes
    published_at: datetime
    published_by: str
    owners: tuple[str, ...]
    access: Access


class HostedIndex(Protocol):
    """Packages that are published here.

    Reads are cheap enough for the event loop. Every write raises PackageNotFound for a name without
    versions, and Conflict if `expected_revision` is given and is not the package's revision; it
    returns the new revision, and adds the name to the change log.
    """

    async def package(self, name: str) -> HostedPackage | None:
        """None if nothing is published under `name`, also if it was once."""

    async def head(self, name: str) -> HostedHead | None:
        """One look for what `package` would say of revision, access and owners; and tombstones."""

    async def revision_of(self, name: str) -> str | None:
        """The package's revision; None where `package` says None."""

    async def owns(self, name: str) -> bool:
        """Whether `name` was ever published here: a name once published here stays here."""

    async def owned(self) -> Sequence[str]:
        """Every name that was ever published here, in no order."""

    async def is_tombstoned(self, name: str) -> bool:
        """Whether everything that was published under `name` was removed."""

    async def is_taken(self, name: str, version: str) -> bool:
        """Whether `publish` would refuse this version: it is there, or was removed.

        Build metadata does not make another version.
        """

    async def tarball(self, name: str, file: str) -> HostedTarball | None: ...

    async def attestations(self, name: str, version: str) -> bytes | None: ...

    async def names(self, prefix: str = "") -> Sequence[str]:
        """Names of all packages that have a version, sorted."""

    async def search_rows(self) -> Sequence[SearchRow]:
        """One row for every package that has a version, restricted ones too, sorted by name."""

    async def owned_by(self, user: str) -> Sequence[str]: ...

    async def starred_by(self, user: str) -> Sequence[str]: ...

    async def is_referenced(self, digest: str) -> bool:
        """Whether a published version names this blob; those of removed versions are not named."""

    async def publish(self, new: NewVersion, deed: Deed) -> str:
        """Add a version; it and its tag are seen together, or not at all.

        The first version of a package gets the tag `latest` too, and who publishes it owns the
        package. Raises VersionExists if the version is taken, Forbidden if it `is_first` and
        somebody else came before, whose package it is now. The same version, digest and user again
        within ten minutes is a repeated request: nothing changes.
        """

    async def change(
        self,
        name: str,
        changes: Sequence[Change],
        deed: Deed,
        expected_revision: str | None = None,
        *,
        latest: Latest,
    ) -> str:
        """Make all of these changes in this order, or none of them; each has its audit row.

        Each does what the method of its kind does, but a tag to drop need not be there; the readme
        is that of the version `latest` names. Without changes the revision stays, and is compared.
        """

    async def deprecate(
        self,
        name: str,
        texts: Mapping[str, str | None],
        deed: Deed,
        expected_revision: str | None = None,
    ) -> str:
        """Set the text of many versions; None or "" takes it away. Raises VersionNotFound."""

    async def remove_versions(
        self,
        name: str,
        versions: Sequence[str],
        deed: Deed,
        expected_revision: str | None = None,
        *,
        latest: Latest,
    ) -> str:
        """Unpublish versions: they can never be published again. Raises VersionNotFound.

        Tags that name them go with them, but `latest` moves. No version left: `remove_package`.
        """

    async def remove_package(
        self, name: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Unpublish every version; access and owners stay with the name."""

    async def set_tag(
        self, name: str, tag: str, version: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Point a dist-tag at a version. Raises VersionNotFound."""

    async def drop_tag(
        self, name: str, tag: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Remove a dist-tag. Raises NotFound; and Forbidden for `latest`, which always is there."""

    async def set_owners(
        self, name: str, owners: Sequence[str], deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Replace the owners. Raises Forbidden if there would be none."""

    async def star(self, name: str, user: str, is_starred: bool, deed: Deed) -> str: ...

    async def set_access(self, name: str, access: Access, deed: Deed) -> str: ...

    def revision(self) -> int:
        """As `Index.revision`: differs from the last one if anybody has committed."""

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        """As `Index.changes`, of hosted packages."""

    async def check(self) -> None:
        """Raise StorageAway or StorageCorrupt unless a row can be written and read now."""
