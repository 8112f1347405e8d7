"""The error tree: what went wrong, and whose fault it is.

Lower floors raise these; `web/middleware.py` alone turns them into replies, by the table in
`web/replies.py`. Every leaf carries facts as keywords (name, version, uplink, reason ...), so that
a log line and a reply can be made of the same error. `str(error)` is the sentence a person reads in
npm's output.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar


class RegistryError(Exception):
    """The root. `code` is the machine-readable word in the reply's body; `facts` go to the log."""

    code: ClassVar[str] = "E_INTERNAL"
    template: ClassVar[str] = "something went wrong"

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__(self.template.format_map(facts))


# --- the caller's fault ---------------------------------------------------------------------------


class InvalidRequest(RegistryError):
    """The request cannot be understood; sending it again will not help."""

    code = "E_INVALID"
    template = "{reason}"


class TooLarge(RegistryError):
    """The body is larger than we take. Facts: limit_bytes."""

    code = "E_TOO_LARGE"
    template = "the body is larger than {limit_bytes} bytes"


class PublishTooLarge(TooLarge):
    """What is published is larger than we take. Facts: reason, limit_bytes."""

    template = "{reason}"


class Unauthenticated(RegistryError):
    """The caller has to say who they are. Facts: reason."""

    code = "E_UNAUTHENTICATED"
    template = "{reason}"


class WrongPassword(Unauthenticated):
    """A password in a body is wrong: other headers would not help. Facts: reason.

    Told without `WWW-Authenticate`, for which npm would print a sentence of its own, about tokens.
    """

    code = "E_PASSWORD"


class OneTimePasswordRequired(Unauthenticated):
    """The second factor is missing or wrong: clients ask for it and send the request once more.

    The sentence holds the words npm looks for. Facts: user, if it was a write of somebody who is
    logged in; then auth_url and done_url, where it may be confirmed on the web.
    """

    code = "EOTP"
    template = "this needs a one-time password (one-time pass) from your authenticator"


class Unprocessable(InvalidRequest):
    """What was sent contradicts itself: the manifest and its tarball, say. Facts: field, reason."""

    code = "E_UNPROCESSABLE"
    template = "{field}: {reason}"


class TooManyRequests(RegistryError):
    """Too many failures of late. Facts: reason. `retry_after` is how long to wait."""

    code = "E_TOO_MANY"
    template = "{reason}"

    def __init__(self, *, retry_after: timedelta, **facts: object) -> None:
        self.retry_after = retry_after
        super().__init__(**facts)


class Forbidden(RegistryError):
    """The caller may not do this, or nobody may. Facts: reason."""

    code = "E_FORBIDDEN"
    template = "{reason}"


class NotHosted(Forbidden):
    """A write to a name that is not published here. Facts: name, origin (an uplink)."""

    code = "E_NOT_HOSTED"
    template = (
        "{name} comes from the uplink {origin} and cannot be written to here; to publish it here, "
        'give it a rule with from = "hosted"'
    )


class VersionExists(Forbidden):
    """A version is published once, and never again after it was removed. Facts: name, version.

    The sentence is the public registry's, which tools look for.
    """

    code = "E_VERSION_EXISTS"
    template = "You cannot publish over the previously published versions: {version}."


class Conflict(RegistryError):
    """What the caller has read is not what is there now: they read again. Facts: reason."""

    code = "E_CONFLICT"
    template = "{reason}"


class MethodNotAllowed(RegistryError):
    """The address exists, the method does not. Facts: method, allowed (a comma-separated list)."""

    code = "E_METHOD"
    template = "{method} is not possible here; possible: {allowed}"


class NotFound(RegistryError):
    """There is no such thing, and whoever may know has said so."""

    code = "E_NOT_FOUND"
    template = "{reason}"


class InvalidName(NotFound):
    """A name no package can have.

    It is a 404, never a 400: pnpm reads a 400's body as a packument.
    """

    code = "E_NAME"
    template = "{name!r} is not a package name: {reason}"


class PackageNotFound(NotFound):
    """The origin of this name knows no such package. Facts: name."""

    code = "E_NO_PACKAGE"
    template = "no such package: {name}"


class VersionNotFound(NotFound):
    """The package has neither a version nor a dist-tag of that name. Facts: name, version."""

    code = "E_NO_VERSION"
    template = "version not found: {name}@{version}"


class TarballNotFound(NotFound):
    """The package has no such tarball. Facts: name, file."""

    code = "E_NO_TARBALL"
    template = "no such tarball: {name}/-/{file}"


# --- the uplink's fault ---------------------------------------------------------------------------


class UplinkError(RegistryError):
    """An uplink failed us.

    Facts: uplink, reason. `retry_after` is how long to wait before asking again.
    """

    code = "E_UPLINK"
    template = "uplink {uplink}: {reason}"

    def __init__(self, *, retry_after: timedelta | None = None, **facts: object) -> None:
        self.retry_after = retry_after
        super().__init__(**facts)


class UplinkBroken(UplinkError):
    """The uplink answered, and the answer is unusable."""

    code = "E_UPLINK_BROKEN"


class IntegrityMismatch(UplinkBroken):
    """The bytes are not those the packument promised. Facts: uplink, name, file, reason."""

    code = "E_INTEGRITY"
    template = "uplink {uplink}: {name}/-/{file} does not match its integrity: {reason}"


class UplinkAway(UplinkError):
    """The uplink is overloaded or left alone after failures, or we are offline."""

    code = "E_UPLINK_AWAY"


class UplinkUnreachable(UplinkAway):
    """No connection to the uplink comes about: refused, no route, a name that does not resolve."""

    code = "E_UPLINK_UNREACHABLE"


class UplinkTimeout(UplinkError):
    """The uplink did not answer in time."""

    code = "E_UPLINK_TIMEOUT"


# --- ours -----------------------------------------------------------------------------------------


class Busy(RegistryError):
    """We have our hands full; it works a little later. Facts: reason."""

    code = "E_BUSY"
    template = "{reason}"


class StorageAway(RegistryError):
    """The disk or the database cannot be used now. Facts: reason."""

    code = "E_STORAGE"
    template = "storage: {reason}"


class StorageFull(StorageAway):
    """The disk is full, or below its floor of free space. Facts: reason."""

    code = "E_STORAGE_FULL"


class StorageCorrupt(RegistryError):
    """What is stored is not what was stored. Facts: reason."""

    code = "E_CORRUPT"
    template = "storage is damaged: {reason}"


class ConfigError(RegistryError):
    """The configuration cannot be used. Facts: problems, each a sentence."""

    code = "E_CONFIG"
    template = "{problems}"

    def __init__(self, *, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(problems="\n".join(problems))
        self.facts = {"problems": list(problems)}
