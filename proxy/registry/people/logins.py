"""Web logins: a client asks, a person answers on a page of ours, the client fetches its token.

1. Whoever asks gets two ids. That of the page is shown to a person and stays in a browser's
   history: it leads to the question and to no token. The other is the client's secret. The page's
   id is its hash, so both find the one row, and who knows the page cannot work out the other.
2. The row says who has allowed it, never a token. The token is made when the client comes for it:
   none is kept anywhere, and none is made for a client that has gone.
3. It is handed over once, by the transaction that forgets the row.

The same goes for a write that needs the second factor (`begin` with a user): then the page asks
for the code alone, and what is handed over is good for one write (confirmations.py).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Protocol

from proxy import errors
from proxy.npm import wire
from proxy.registry.people import confirmations
from proxy.registry.people.callers import Caller, Passwords
from proxy.registry.people.limits import Limit, Limits
from proxy.storage.hosting import Deed
from proxy.storage.identity import (
    LoginSession,
    People,
    SessionState,
    TokenKind,
    TokenRecord,
    UserRecord,
)

WITHIN = timedelta(minutes=10)
# A person needs one now and then, a build that publishes some; each writes a row.
BEGINNINGS = Limit(100, timedelta(minutes=5))
_ID_BYTES = 32
_ENDED = "this login has expired or was used; begin again in the terminal"


class Tokens(Protocol):
    """Makes tokens (tokens.py)."""

    async def issue(
        self, user: str, deed: Deed, *, kind: TokenKind, description: str | None
    ) -> tuple[str, TokenRecord]: ...


class Accounts(Protocol):
    """Makes users (accounts.py)."""

    async def sign_up(
        self, name: str, password: str, email: str | None, client_ip: str
    ) -> UserRecord:
        """Raises Conflict for a name that is taken, InvalidRequest, TooManyRequests."""


class SecondFactor(Protocol):
    """Checks one-time passwords (second_factor.py)."""

    async def is_good(self, user: UserRecord, code: str | None, caller: Caller) -> bool: ...


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. `agent` and `host` are what they say of themselves, `client_ip` is what we see.

    `wants_account` says that they mean to sign up (`npm adduser`).
    """

    client_ip: str
    agent: str = ""
    host: str = ""
    wants_account: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """The two ids of a login: that of the page, and the client's secret."""

    page: str
    done: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a page asks: may `asker` log in, or, if `user` is set, may that user's client write?

    `form` is a word that only this page's forms hold.
    """

    asker: Asker
    asked_at: datetime
    form: str
    user: str | None


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody typed: their name and password, or only the code for a write."""

    name: str
    password: str
    code: str
    client_ip: str


class Logins:
    """Begins, shows, answers and ends web logins. `accounts` is None while nobody may sign up."""

    def __init__(
        self,
        *,
        people: People,
        passwords: Passwords,
        second_factor: SecondFactor,
        tokens: Tokens,
        accounts: Accounts | None,
        limits: Limits,
        clock: Callable[[], datetime],
    ) -> None:
        self._people = people
        self._passwords = passwords
        self._second_factor = second_factor
        self._tokens = tokens
        self._accounts = accounts
        self._limits = limits
        self._clock = clock

    @property
    def can_sign_up(self) -> bool:
        return self._accounts is not None

    async def begin(self, asker: Asker, user: str | None = None) -> Begun:
        """Begin a login, or have a write of `user` confirmed. Raises TooManyRequests."""
        key = f"web login {asker.client_ip}"
        await self._limits.admit(BEGINNINGS, key)
        await self._limits.failed(key)
        done, now = secrets.token_urlsafe(_ID_BYTES), self._clock()
        page = _page_of(done)
        question = Question(asker, now, secrets.token_urlsafe(_ID_BYTES), user)
        await self._people.add_session(
            LoginSession(_hash(page), now + WITHIN, facts=_packed(question))
        )
        return Begun(page, done)

    async def question(self, page: str) -> Question:
        """What the page of this id asks. Raises NotFound once that has ended."""
        session = await self._people.session(_hash(page), self._clock())
        if session is None or session.state is not SessionState.PENDING:
            raise errors.NotFound(reason=_ENDED)
        return _unpacked(session.facts)

    async def allow(self, page: str, form: str, proof: Proof) -> str:
        """Let the client have what it asks for, if the proof is good; returns the user's name.

        Raises NotFound, Forbidden, Unauthenticated, OneTimePasswordRequired, TooManyRequests.
        """
        question = await self._answered(page, form)
        if question.user is None:
            user = await self._passwords.check(proof.name, proof.password, proof.client_ip)
        else:
            user = await self._people.user(question.user)
        if user is None or user.is_disabled:
            raise errors.Unauthenticated(reason="the user name or the password is wrong")
        await self._require_code(question, user, proof)
        return await self._grant(page, user, proof.client_ip)

    async def sign_up(self, page: str, form: str, proof: Proof, email: str | None) -> str:
        """Make a user and let the client log in as them; returns their name.

        Raises as `allow` and as `Accounts.sign_up`.
        """
        question = await self._answered(page, form)
        if self._accounts is None or question.user is not None:
            raise errors.Forbidden(
                reason="nobody can sign up here; ask an administrator (packhouse user add)"
            )
        user = await self._accounts.sign_up(proof.name, proof.password, email, proof.client_ip)
        return await self._grant(page, user, proof.client_ip)

    async def refuse(self, page: str, form: str) -> None:
        """End it without a token. Raises NotFound, Forbidden."""
        await self._answered(page, form)
        if not await self._people.refuse_session(_hash(page), self._clock()):
            raise errors.NotFound(reason=_ENDED)

    async def poll(self, done: str, client_ip: str) -> str | None:
        """The token, once; None while nobody has answered. Raises NotFound if there is none."""
        id_hash, now = _hash(_page_of(done)), self._clock()
        session = await self._people.session(id_hash, now)
        if session is None:
            raise errors.NotFound(reason=_ENDED)
        if session.state is SessionState.REFUSED:
            raise errors.NotFound(reason="the login was refused in the browser")
        if session.state is SessionState.PENDING:
            return None
        taken = await self._people.take_session(id_hash, now)
        if taken is None or taken.user is None:
            raise errors.NotFound(reason=_ENDED)
        return await self._handover(taken.user, _unpacked(taken.facts), client_ip)

    async def _answered(self, page: str, form: str) -> Question:
        question = await self.question(page)
        if not compare_digest(form.encode(), question.form.encode()):
            raise errors.Forbidden(reason="this form is not of this page; open the page again")
        return question

    async def _require_code(self, question: Question, user: UserRecord, proof: Proof) -> None:
        if question.user is None and user.totp_mode is None:
            return
        caller = Caller(client_ip=proof.client_ip, user=user.name)
        if not await self._second_factor.is_good(user, proof.code, caller):
            raise errors.OneTimePasswordRequired

    async def _grant(self, page: str, user: UserRecord, client_ip: str) -> str:
        deed = Deed(user.name, self._clock(), client_ip or None)
        if not await self._people.grant_session(_hash(page), user.name, b"", deed):
            raise errors.NotFound(reason=_ENDED)
        return user.name

    async def _handover(self, name: str, question: Question, client_ip: str) -> str:
        user, now = await self._people.user(name), self._clock()
        if user is None or user.is_disabled:
            raise errors.NotFound(reason=_ENDED)
        if question.user is not None:
            return await confirmations.issue(self._people, name, now)
        asker = question.asker
        token, _ = await self._tokens.issue(
            name,
            Deed(name, now, client_ip or None),
            kind=TokenKind.WEB,
            description=f"web login from {asker.host or asker.client_ip}",
        )
        return token


def _page_of(done: str) -> str:
    digest = hashlib.sha256(b"page of " + done.encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _hash(page: str) -> str:
    return hashlib.sha256(b"login " + page.encode("utf-8", "surrogatepass")).hexdigest()


def _packed(question: Question) -> bytes:
    asker = question.asker
    return wire.dumps(
        {
            "ip": asker.client_ip,
            "agent": asker.agent,
            "host": asker.host,
            "create": asker.wants_account,
            "at": question.asked_at.isoformat(),
            "form": question.form,
            "user": question.user,
        }
    )


def _unpacked(facts: bytes) -> Question:
    told = wire.loads(facts)
    return Question(
        asker=Asker(told["ip"], told["agent"], told["host"], told["create"]),
        asked_at=datetime.fromisoformat(told["at"]),
        form=told["form"],
        user=told["user"],
    )
