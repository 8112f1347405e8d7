"""Changes to a package we hold, as a document that comes back asks for them.

Clients echo what we generated, so only what they may change is compared with what is stored. A
version is gone only on the revision's own address (`/-rev/<rev>`); everywhere else a document
without it says nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.npm import wire
from proxy.npm.documents import BadPublish, Document, at, check_tag, object_of
from proxy.npm.wire import Raw

MOST_OWNERS = 1000
"""Each is looked up."""


@dataclass(frozen=True, slots=True)
class Person:
    """A maintainer, by name; the address may be empty."""

    name: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """What may be changed of a package we hold: each version with its deprecation, or None.

    One that `is_merged` is shown beside what an uplink has of the name (merge.py): the readme and
    the tags of its document may not be ours.
    """

    versions: Mapping[str, str | None]
    tags: Mapping[str, str]
    maintainers: tuple[Person, ...] = ()
    users: Mapping[str, bool] = field(default_factory=dict)
    readme: str | None = None
    is_merged: bool = False


@dataclass(frozen=True, slots=True)
class Deprecations:
    """A text for each version to deprecate, "" for each that no longer is."""

    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Removal:
    """Versions to unpublish."""

    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WholeRemoval:
    """All versions are to go, and the package with them."""


@dataclass(frozen=True, slots=True)
class Tags:
    """Dist-tags to set, and to remove (None)."""

    tags: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Owners:
    """The maintainers as they are to be."""

    maintainers: tuple[Person, ...]


@dataclass(frozen=True, slots=True)
class Stars:
    """Who is to be added to (True) or taken from (False) those who starred the package."""

    users: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Readme:
    """A new readme of the package."""

    text: str


Change = Deprecations | Removal | WholeRemoval | Tags | Owners | Stars | Readme


@dataclass(frozen=True, slots=True)
class Update:
    """Changes to a stored package, none if nothing differs.

    `revision` is the one the client has seen, from the address or else from the document; None if
    it named none.
    """

    changes: tuple[Change, ...]
    revision: str | None


def changes(document: Document, stored: Stored, *, may_remove: bool) -> list[Change]:
    """What the document asks to change; versions, if it `may_remove` them.

    Raises BadPublish.
    """
    found: list[Change] = []
    if "versions" in document.fields:
        gone = _gone(document, stored) if may_remove else ()
        if gone and len(gone) == len(stored.versions):
            return [WholeRemoval()]
        found += [Removal(gone)] if gone else []
        found += _deprecations(document, stored)
        found += _tags(document, stored, gone)
        readme = None if stored.is_merged else document.text("readme")
        found += [Readme(readme)] if readme and readme != stored.readme else []
    return [*found, *_owners(document, stored), *_stars(document, stored)]


def _gone(document: Document, stored: Stored) -> tuple[str, ...]:
    return tuple(version for version in stored.versions if version not in document.versions)


def _deprecations(document: Document, stored: Stored) -> list[Change]:
    texts = {}
    for version, held in stored.versions.items():
        if version in document.versions:
            said = _deprecated(document.versions[version], held or "")
            if said != (held or ""):
                texts[version] = said
    return [Deprecations(texts)] if texts else []


def _deprecated(manifest: Raw, held: str) -> str:
    """The deprecation a manifest carries, "" for none; what is neither text nor no is no change."""
    said = at(object_of(manifest, "versions"), "deprecated")
    if bytes(said) in {b"null", b"false"}:
        return ""
    text = wire.text(said)
    return held if text is None else text


def _tags(document: Document, stored: Stored, gone: tuple[str, ...]) -> list[Change]:
    """What differs in the dist-tags; a tag of a version that goes, goes with it.

    Of a merged document only that tags of ours are gone: a tag in it may be the uplink's, also if
    it names a version of ours, because both may have the same number. Clients set a tag at an
    address of its own.
    """
    if not document.tags:
        return []
    lost = {tag: None for tag in stored.tags if tag not in document.tags and tag != "latest"}
    changed = {**({} if stored.is_merged else _set_tags(document, stored, gone)), **lost}
    return [Tags(changed)] if changed else []


def _set_tags(document: Document, stored: Stored, gone: tuple[str, ...]) -> dict[str, str | None]:
    """The tags that are new or point elsewhere. Raises BadPublish for what cannot be."""
    changed: dict[str, str | None] = {
        tag: target for tag, target in document.tags.items() if stored.tags.get(tag) != target
    }
    for tag, target in changed.items():
        check_tag(tag)
        if target not in stored.versions or target in gone:
            raise BadPublish(f"the dist-tag {tag!r} is for a version that is not here", "dist-tags")
    return changed


def _owners(document: Document, stored: Stored) -> list[Change]:
    if "maintainers" not in document.fields:
        return []
    listed = document.loaded("maintainers")
    if not isinstance(listed, list) or not listed:
        raise BadPublish("a package has at least one maintainer", "maintainers")
    if len(listed) > MOST_OWNERS:
        raise BadPublish(f"a package has at most {MOST_OWNERS} maintainers", "maintainers")
    people = tuple(map(_person, listed))
    return [Owners(people)] if people != stored.maintainers else []


def _person(value: Any) -> Person:
    name, email = (
        (value.get("name"), value.get("email", "")) if isinstance(value, dict) else (None, "")
    )
    if not isinstance(name, str) or not name or not isinstance(email, str | None):
        raise BadPublish("a maintainer has a name and an email", "maintainers")
    return Person(name, email or "")


def _stars(document: Document, stored: Stored) -> list[Change]:
    listed = document.loaded("users") if "users" in document.fields else None
    if listed is None:
        return []
    if not isinstance(listed, dict):
        raise BadPublish("users is an object of names", "users")
    wanted = {user for user, is_fan in listed.items() if is_fan}
    held = {user for user, is_fan in stored.users.items() if is_fan}
    changed = dict.fromkeys(sorted(wanted - held), True)
    changed |= dict.fromkeys(sorted(held - wanted), False)
    return [Stars(changed)] if changed else []
