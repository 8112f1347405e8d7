"""A new version, examined: what its manifest says, what its tarball holds, and what is kept of it.

Clients resolve by the manifest and run what is in the tarball, so both have to say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy import errors
from proxy.npm import confusion, manifests, names, provenance, wire
from proxy.npm.archive import Contents
from proxy.npm.documents import BadPublish
from proxy.npm.provenance import Provenance
from proxy.npm.publish import NewVersion
from proxy.npm.updates import Person
from proxy.storage import hosting
from proxy.storage.hosting import Access

# What search repeats of a manifest.
_EXCERPT = ("author", "license", "homepage", "repository", "bugs")


@dataclass(frozen=True, slots=True)
class Version:
    """A version that may be published, and what was found in it."""

    new: NewVersion
    contents: Contents
    manifest: Mapping[str, Any]
    package_json: Mapping[str, Any]
    provenance: Provenance | None

    def row(
        self, user: Person, owners: Sequence[Person], signature: Mapping[str, str]
    ) -> hosting.NewVersion:
        """What storage is given of it. `owners` are the package's, `signature` is its own."""
        new, tarball = self.new, self.new.tarball
        readme, readme_filename = self._readme()
        return hosting.NewVersion(
            name=new.name.full,
            version=new.version,
            tag=new.tag,
            manifest=manifests.stored(new, self._facts(user, owners, signature)),
            file=names.tarball_file(new.name, new.version),
            digest=tarball.sha512.hex(),
            size_bytes=tarball.size_bytes,
            integrity=tarball.integrity,
            shasum=tarball.sha1.hex(),
            access=None if new.access is None else Access(new.access),
            readme=readme,
            readme_filename=readme_filename,
            attestations=None if self.provenance is None else self.provenance.document,
            description=new.description or "",
            keywords=self._keywords(),
            excerpt=self._excerpt(),
        )

    def _facts(
        self, user: Person, owners: Sequence[Person], signature: Mapping[str, str]
    ) -> manifests.Facts:
        new, found = self.new, self.provenance
        return manifests.Facts(
            contents=self.contents,
            package_json=self.package_json,
            user=user,
            maintainers=owners,
            signature=signature,
            attestations=None
            if found is None
            else provenance.attestations(new.name, new.version, found.predicate_type),
        )

    def _readme(self) -> tuple[str | None, str | None]:
        """The readme and its file, as they were sent; what was not sent is the tarball's.

        pnpm and berry send no name of the file.
        """
        file, text = self.contents.readme or (None, None)
        sent = self.new.readme
        return text if sent is None else sent, self.new.readme_filename or file

    def _keywords(self) -> tuple[str, ...]:
        said = self.manifest.get("keywords")
        words = said.split(",") if isinstance(said, str) else said
        listed = words if isinstance(words, list) else []
        return tuple(word.strip() for word in listed if isinstance(word, str) and word.strip())

    def _excerpt(self) -> bytes:
        fields = wire.envelope(self.new.manifest)
        return wire.join((key, fields[key]) for key in _EXCERPT if key in fields)


def examined(new: NewVersion, contents: Contents) -> Version:
    """A version whose manifest and tarball agree. Raises Unprocessable, InvalidRequest."""
    try:
        package_json = confusion.read(contents.package_json)
        manifest = wire.loads(new.manifest)
    except wire.Undecodable as error:
        raise errors.Unprocessable(field="package.json", reason=str(error)) from None
    different = confusion.differences(
        manifest, package_json, has_binding_gyp=contents.has_binding_gyp
    )
    if different:
        raise errors.Unprocessable(
            field=", ".join(different),
            reason="the manifest says something else than the package.json in the tarball; pack "
            "and publish again with one tool, without changing package.json in between",
        )
    return Version(new, contents, manifest, package_json, _provenance(new))


def _provenance(new: NewVersion) -> Provenance | None:
    if new.provenance is None:
        return None
    try:
        return provenance.read(new.provenance, new.tarball.sha512)
    except provenance.OtherTarball as error:
        raise errors.Unprocessable(field="the provenance", reason=error.reason) from None
    except BadPublish as error:
        raise errors.InvalidRequest(reason=str(error)) from None
