"""What the stories may ask of storage about people: users, teams, tokens, logins, what was done.

Kept by the database of hosted packages (hosting.py), under the same promise: a write that has
returned is on disk. Secrets are kept as hashes only, which the caller makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from proxy.storage.hosting import Action, Deed


class Permission(Enum):
    """What a grant allows; WRITE includes READ."""

    READ = "read"
    WRITE = "write"


class Role(Enum):
    """What somebody is in an organisation."""

    DEVELOPER = "developer"
    ADMIN = "admin"
    OWNER = "owner"


class TokenKind(Enum):
    """How a token came about."""

    LOGIN = "login"
    GRANULAR = "granular"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class UserRecord:
    """Somebody who may log in. Names are compared exactly; a name is never given to another.

    `password_hash` is None where another system knows the password. `totp_mode` is npm's word
    ("auth-only", "auth-and-writes"), None while there is no second factor or it is not confirmed;
    until then `totp_asked` is the mode that is asked for.
    `recovery_hashes` are of codes that were not used. `profile` holds what the user says of
    themselves (fullname, homepage ...).
    """

    name: str
    created_at: datetime
    updated_at: datetime
    email: str | None = None
    password_hash: str | None = None
    is_disabled: bool = False
    totp_secret: str | None = field(default=None, repr=False)
    totp_mode: str | None = None
    recovery_hashes: tuple[str, ...] = ()
    profile: Mapping[str, str] = field(default_factory=dict)
    totp_asked: str | None = None


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token, of which only the sha256 (hex) is known.

    `key` names it to its owner; `shown` is what is displayed of it (prefix and last four). An empty
    `packages`, `scopes` or `cidrs` does not restrict. `used_at` is rounded down to the hour.
    """

    hash: str
    key: str
    user: str
    kind: TokenKind
    shown: str
    created_at: datetime
    name: str | None = None
    description: str | None = None
    is_readonly: bool = False
    is_otp_exempt: bool = False
    packages: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()
    expires_at: datetime | None = None
    used_at: datetime | None = None

    @property
    def is_restricted(self) -> bool:
        """Whether it is good for less than its user is."""
        return self.is_readonly or bool(self.packages or self.scopes or self.cidrs)


class SessionState(Enum):
    """Where a web login stands; who has taken the token has ended it."""

    PENDING = "pending"
    GRANTED = "granted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LoginSession:
    """A web login under way, found by the sha256 (hex) of its id.

    `handover` is the token, or what the caller makes of it, to be handed over once; `facts` is the
    caller's (what is asked for, by which host).
    """

    id_hash: str
    expires_at: datetime
    state: SessionState = SessionState.PENDING
    user: str | None = None
    handover: bytes | None = field(default=None, repr=False)
    facts: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class TeamRecord:
    """A team of an organisation."""

    org: str
    team: str
    description: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One thing that was done. `number` grows; `facts` is a JSON object."""

    number: int
    deed: Deed
    action: Action
    subject: str
    facts: bytes


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which audit rows are wanted; None does not restrict. `since` is included, `until` is not.

    `before` is the number of the last row of the page before.
    """

    user: str | None = None
    action: Action | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


class People(Protocol):
    """Users, what they belong to, their tokens and what was done.

    Writes return when they are on disk. Those that take a `Deed` append an audit row.
    """

    # users: every change raises NotFound for an unknown name

    async def user(self, name: str) -> UserRecord | None: ...

    async def users(self) -> Sequence[UserRecord]: ...

    async def add_user(self, user: UserRecord, deed: Deed) -> None:
        """Raises Conflict if the name is taken, also in another case (`Ann`, `ann`)."""

    async def set_password(self, name: str, password_hash: str | None, deed: Deed) -> int:
        """Replace the hash, and end every login but the deed's own; granular tokens stay.

        What was granted on a web page and waits to be taken ends too. All or nothing; returns how
        many logins have ended.
        """

    async def renew_hash(self, name: str, before: str, after: str) -> None:
        """Put another hash of the same password in the place of `before`, if that is still there.

        No change of anything, so without an audit row.
        """

    async def set_profile(
        self, name: str, email: str | None, profile: Mapping[str, str], deed: Deed
    ) -> None: ...

    async def set_disabled(self, name: str, is_disabled: bool, deed: Deed) -> None: ...

    async def set_totp(
        self,
        name: str,
        secret: str | None,
        mode: str | None,
        deed: Deed,
        recovery_hashes: Sequence[str] = (),
        *,
        asked: str | None = None,
    ) -> None: ...

    async def spend_totp(self, name: str, step: int) -> bool:
        """Use the code of a time step, once: False if it, or a later one, was used before."""

    async def spend_recovery(self, name: str, code_hash: str, deed: Deed) -> bool:
        """Use a recovery code, once: False if it is none, or was used before."""

    # organisations, teams, grants: setting twice and dropping what is not there change nothing

    async def set_member(
        self, org: str, user: str, role: Role, deed: Deed, *, spares_owners: bool = False
    ) -> None:
        """Raises Forbidden if it would take the last owner from the organisation.

        With `spares_owners` also if it would make an owner, or make one less.
        """

    async def drop_member(
        self, org: str, user: str, deed: Deed, *, spares_owners: bool = False
    ) -> None:
        """Also takes them out of the organisation's teams. Raises as `set_member`."""

    async def drop_org(self, org: str, deed: Deed) -> None:
        """Remove an organisation with its members, teams and grants. Raises NotFound."""

    async def orgs(self) -> Mapping[str, Mapping[str, Role]]:
        """The members of every organisation that has some, by its name."""

    async def members(self, org: str) -> Mapping[str, Role]: ...

    async def orgs_of(self, user: str) -> Mapping[str, Role]: ...

    async def teams_of(self, user: str) -> Sequence[tuple[str, str]]:
        """(organisation, team) of every team the user is in, sorted."""

    async def set_team(self, team: TeamRecord, deed: Deed) -> None: ...

    async def drop_team(self, org: str, team: str, deed: Deed) -> None:
        """Its members and grants go with it."""

    async def teams(self, org: str) -> Sequence[TeamRecord]: ...

    async def set_team_member(self, org: str, team: str, user: str, deed: Deed) -> None:
        """Raises NotFound for an unknown team, and for who is not in the organisation."""

    async def drop_team_member(self, org: str, team: str, user: str, deed: Deed) -> None: ...

    async def team_members(self, org: str, team: str) -> Sequence[str]: ...

    async def set_grant(
        self, org: str, team: str, package: str, permission: Permission, deed: Deed
    ) -> None:
        """Raises NotFound for an unknown team."""

    async def drop_grant(self, org: str, team: str, package: str, deed: Deed) -> None: ...

    async def grants(self, org: str, team: str) -> Mapping[str, Permission]: ...

    async def set_collaborator(
        self, package: str, user: str, permission: Permission, deed: Deed
    ) -> None: ...

    async def drop_collaborator(self, package: str, user: str, deed: Deed) -> None: ...

    async def collaborators(self, package: str) -> Mapping[str, Permission]:
        """Of users, by themselves or by their teams, the stronger; owners are not among them."""

    async def permission_of(self, user: str, package: str) -> Permission | None:
        """What `collaborators` says of one user, by indexed rows."""

    async def packages_of(self, user: str) -> Mapping[str, Permission]:
        """What `permission_of` says of every package that is granted to `user`."""

    # tokens

    async def add_token(self, token: TokenRecord, deed: Deed) -> None:
        """Raises NotFound for an unknown user."""

    async def token(self, token_hash: str) -> tuple[TokenRecord, UserRecord] | None:
        """One indexed look. Expiry, restrictions and a disabled user are the caller's to judge."""

    async def tokens(self, user: str) -> Sequence[TokenRecord]:
        """Newest first."""

    async def revoke_token(self, user: str, key: str, deed: Deed) -> bool:
        """Forget the token of `user` that has this key or this hash; False if there is none."""

    async def revoke_tokens(self, user: str, deed: Deed) -> int:
        """Forget every token of `user`; returns how many."""

    async def mark_token_used(self, token_hash: str, at: datetime) -> None:
        """Note the hour of a use; within an hour already noted it writes nothing."""

    # web logins

    async def add_session(self, session: LoginSession) -> None: ...

    async def session(self, id_hash: str, at: datetime) -> LoginSession | None:
        """None if there is none, or it has expired."""

    async def grant_session(self, id_hash: str, user: str, handover: bytes, deed: Deed) -> bool:
        """Give a pending login its token; False if it is not pending any more."""

    async def refuse_session(self, id_hash: str, at: datetime) -> bool:
        """End a pending login without a token; False if it is not pending any more."""

    async def take_session(self, id_hash: str, at: datetime) -> LoginSession | None:
        """The granted login, to one caller only: it is forgotten. None if it is not granted."""

    # failures, shared by all workers

    async def add_failure(self, key: str, at: datetime) -> None:
        """Count one failure of `key` (a user, an address, or what the caller limits)."""

    async def failures(self, key: str, since: datetime) -> int:
        """How many `key` has had since then, to the minute."""

    async def forget_failures(self, key: str) -> None: ...

    async def drop_expired(self, at: datetime) -> int:
        """Forget tokens and logins that expired, and failures of a day ago. Returns how many."""

    # what was done

    async def note(
        self, action: Action, subject: str, deed: Deed, facts: Mapping[str, object] | None = None
    ) -> None:
        """Append an audit row for what changes nothing here, such as a login."""

    async def audit(self, query: AuditQuery, limit: int = 100) -> Sequence[AuditRow]:
        """Rows that match, newest first, of hosted packages too."""

    def revision(self) -> int:
        """As `Index.revision`: differs from the last one if anybody has committed."""
