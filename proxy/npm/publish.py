"""What a PUT of a packument asks for.

npm writes everything through one document, and what is meant is seen only by what is in it:

1. an attachment with data: a new version is published;
2. `versions` without data: the whole document comes back with something changed in it. Clients
   echo what we generated, so only what they may change is compared with what is stored:
   deprecations, dist-tags, maintainers, stars, the readme, and, on the revision's own address
   (`/-rev/<rev>`), versions that are gone. Every other difference is ignored;
3. neither: a part of a document, of which `maintainers` and `users` count.

Nothing is changed here; the caller compares the revision and does what is asked. Source: what npm 6
to 12, pnpm, yarn, berry and bun send.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.errors import PackageNotFound
from proxy.npm import integrity, newcomers, semver, updates, wire
from proxy.npm.documents import BadPublish, Document, at, check_tag, object_of
from proxy.npm.names import PackageName
from proxy.npm.splitting import BUNDLE_ENDING
from proxy.npm.updates import Stored, Update
from proxy.npm.wire import NULL, Raw

__all__ = ["Attachment", "BadPublish", "NewVersion", "Stored", "Update", "asked"]

README_BYTES = 64 * 1024
DESCRIPTION_CHARACTERS = 255
NO_README = "ERROR: No README data found!"  # what npm sends in its place

_ACCESS = {None, "public", "restricted"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """What was seen of an attachment while it came; `text` of a provenance bundle only."""

    size_bytes: int
    sha512: bytes
    sha1: bytes
    text: str | None = None

    @property
    def integrity(self) -> str:
        """The SRI string of the bytes."""
        return f"sha512-{base64.b64encode(self.sha512).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version to publish. `manifest` is the client's own, byte for byte."""

    name: PackageName
    version: str
    manifest: bytes
    tag: str
    access: str | None
    description: str | None
    readme: str | None
    readme_filename: str | None
    tarball: Attachment
    provenance: str | None

    @property
    def identity(self) -> str:
        """The version without build metadata: two versions of one identity are the same one."""
        return str(semver.parse(self.version))


def asked(
    name: PackageName,
    metadata: bytes,
    attachments: Mapping[str, Attachment],
    *,
    revision: str | None,
    stored: Stored | None,
) -> NewVersion | Update:
    """What a body asks for.

    `name` and `revision` are the address's, `metadata` and `attachments` (by key) what the splitter
    made of the body, `stored` what we hold of the package. Raises BadPublish, and
    PackageNotFound for a change of what is not there.
    """
    document = Document(metadata)
    document.check_name(name)
    if attachments or document.has_data():
        return _new_version(name, document, attachments, stored)
    if stored is None:
        # The very words that who may not read a package is told of it.
        raise PackageNotFound(name=name.full)
    changes = tuple(updates.changes(document, stored, may_remove=revision is not None))
    if not changes and not {"versions", "maintainers", "users"} & document.fields.keys():
        raise BadPublish("neither a tarball, nor versions, maintainers or users", "versions")
    return Update(changes, revision or document.text("_rev"))


# --- a new version --------------------------------------------------------------------------------


def _new_version(
    name: PackageName,
    document: Document,
    attachments: Mapping[str, Attachment],
    stored: Stored | None,
) -> NewVersion:
    if stored is None:
        newcomers.validate(name)
    tarball, bundle = _attached(document, attachments)
    version = _chosen(document, tarball, stored)
    raw = document.versions[version]
    manifest = object_of(raw, "versions")
    _check_manifest(name, version, manifest)
    _check_dist(manifest, tarball)
    if document.text_or_null("access") not in _ACCESS:
        raise BadPublish("access is neither public nor restricted", "access")
    readme, file = _readme(document, manifest)
    return NewVersion(
        name=name,
        version=version,
        manifest=bytes(raw),
        tag=_tag(document, version, stored),
        access=document.text("access"),
        description=_cut(document.text("description") or wire.text(at(manifest, "description"))),
        readme=readme,
        readme_filename=file,
        tarball=tarball,
        provenance=None if bundle is None else bundle.text,
    )


def _attached(
    document: Document, attachments: Mapping[str, Attachment]
) -> tuple[Attachment, Attachment | None]:
    """The tarball and the provenance bundle, each as long as it says it is."""
    for key, seen in attachments.items():
        _check_length(object_of(document.attachments.get(key, NULL), "_attachments"), seen)
    bundles = [seen for key, seen in attachments.items() if key.endswith(BUNDLE_ENDING)]
    tarballs = [seen for key, seen in attachments.items() if not key.endswith(BUNDLE_ENDING)]
    if len(tarballs) != 1 or len(bundles) > 1:
        raise BadPublish("there must be one tarball, as a string in base64", "_attachments")
    return tarballs[0], next(iter(bundles), None)


def _check_length(attachment: Mapping[str, Raw], seen: Attachment) -> None:
    said = bytes(at(attachment, "length"))
    # a bundle's length counts characters as JavaScript does; some tools count its bytes
    units = len((seen.text or "").encode("utf-16-le")) // 2
    allowed = {seen.size_bytes} if seen.text is None else {seen.size_bytes, units}
    if said != b"null" and said not in {str(size).encode() for size in allowed}:
        size = seen.size_bytes
        raise BadPublish(f"the attachment has {size} bytes, not its length", "_attachments")


def _chosen(document: Document, tarball: Attachment, stored: Stored | None) -> str:
    """The version the tarball belongs to.

    Usually it is the only one. npm 6 merges its version into the document it read; then it is the
    one we do not hold, or, when that request is repeated, the one whose dist is the tarball's.
    """
    known = {} if stored is None else stored.versions
    fresh = [version for version in document.versions if version not in known]
    for candidates in (list(document.versions), fresh):
        if len(candidates) == 1:
            return candidates[0]
    alike = [version for version in document.versions if _is_of(document, version, tarball)]
    if len(alike) != 1:
        raise BadPublish("there must be one new version, and one only", "versions")
    return alike[0]


def _is_of(document: Document, version: str, tarball: Attachment) -> bool:
    dist = _dist(object_of(document.versions[version], "versions"))
    promised = integrity.parse(wire.text(at(dist, "integrity")), wire.text(at(dist, "shasum")))
    return promised is not None and bool({tarball.sha512, tarball.sha1} & set(promised.digests))


def _dist(manifest: Mapping[str, Raw]) -> dict[str, Raw]:
    raw = at(manifest, "dist")
    return {} if bytes(raw) == b"null" else object_of(raw, "dist")


def _check_manifest(name: PackageName, version: str, manifest: Mapping[str, Raw]) -> None:
    if wire.text(at(manifest, "name")) != name.full:
        raise BadPublish(f"the manifest is not of {name.full!r}", "versions.name")
    if wire.text(at(manifest, "version")) != version:
        raise BadPublish("the manifest has another version than its key", "versions.version")
    try:
        parsed = semver.parse(version)
    except semver.InvalidVersion as error:
        raise BadPublish(str(error), "versions") from error
    if version.partition("+")[0] != str(parsed):
        raise BadPublish(f"the version must be written as {parsed}", "versions")


def _check_dist(manifest: Mapping[str, Raw], tarball: Attachment) -> None:
    """Compare what the manifest promises with the bytes that came; it need not promise anything."""
    fields = _dist(manifest)
    sri, shasum = wire.text(at(fields, "integrity")), wire.text(at(fields, "shasum"))
    for text, promised, key in (
        (sri, integrity.parse(sri, None), "integrity"),
        (shasum, integrity.parse(None, shasum), "shasum"),
    ):
        seen = {"sha512": tarball.sha512, "sha1": tarball.sha1}
        algorithm = "" if promised is None else promised.algorithm
        if text and (promised is None or seen.get(algorithm) not in promised.digests):
            raise BadPublish("the tarball is not what the manifest promises", f"dist.{key}")


def _tag(document: Document, version: str, stored: Stored | None) -> str:
    """The one dist-tag that is to point to the version."""
    tags = [tag for tag, target in document.tags.items() if target == version]
    if len(document.versions) > 1 and stored is not None and len(tags) > 1:
        tags = [tag for tag in tags if stored.tags.get(tag) != version]
    if len(tags) != 1 or (len(document.versions) == 1 and len(document.tags) != 1):
        raise BadPublish("there must be one dist-tag, for the new version", "dist-tags")
    check_tag(tags[0])
    return tags[0]


def _readme(document: Document, manifest: Mapping[str, Raw]) -> tuple[str | None, str | None]:
    """The readme, cut to what is kept, and its file's name: from the top or from the manifest."""
    text = document.text("readme") or wire.text(at(manifest, "readme"))
    file = document.text("readmeFilename") or wire.text(at(manifest, "readmeFilename"))
    if not text or text == NO_README:
        return None, file
    return text.encode()[:README_BYTES].decode("utf-8", "ignore"), file


def _cut(description: str | None) -> str | None:
    return None if description is None else description[:DESCRIPTION_CHARACTERS]
