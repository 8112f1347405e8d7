"""Web logins: what a client asks and polls, and the page on which a person answers.

The page needs no cookie: nothing that a browser sends by itself says who somebody is, so another
site can make a browser do nothing here. On top of that a form counts only if it comes from our own
page, by what the browser says of it and by a word that only this page holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from aiohttp import hdrs, web
from multidict import istr

from proxy import errors
from proxy.npm import wire
from proxy.registry.people.logins import Asker, Begun, Proof, Question
from proxy.web import bodies, replies, templates
from proxy.web.keys import EXCHANGE, LOGINS

LIMIT_BYTES = 64 * 1024
_MOST_FIELDS = 16
_LONGEST_SAID = 200
_POLL_SECONDS = 1
_AUTH_TYPE = istr("npm-auth-type")
_FETCH_SITE = istr("Sec-Fetch-Site")
# What can be told on the page itself, so that it can be mended there.
_MENDED = (
    errors.Unauthenticated,
    errors.InvalidRequest,
    errors.Conflict,
    errors.Forbidden,
    errors.TooManyRequests,
)


async def post_login(request: web.Request) -> web.StreamResponse:
    """`POST /-/v1/login`: `{loginUrl, doneUrl}`.

    The body is npm's `{hostname?, create?}` or anything else. Credentials are not looked at:
    clients send their old token along.
    """
    said = _said(await bodies.read(request, LIMIT_BYTES))
    begun = await request.app[LOGINS].begin(_asker(request, said))
    page, done = _addresses(request, begun)
    return replies.json(wire.dumps({"loginUrl": page, "doneUrl": done}))


async def get_done(request: web.Request) -> web.StreamResponse:
    """`GET /-/v1/done/{id}`: 202 while nobody has answered, then `{token}`, once; else 404."""
    client_ip = request[EXCHANGE].address.client_ip
    token = await request.app[LOGINS].poll(request.match_info["id"], client_ip)
    if token is not None:
        return replies.json(wire.dumps({"token": token}))
    reply = replies.json(b"{}", status=202)
    # npm polls without a pause if it is not told to make one.
    reply.headers[hdrs.RETRY_AFTER] = str(_POLL_SECONDS)
    return reply


async def get_login(request: web.Request) -> web.StreamResponse:
    """`GET /-/login/{id}`: who asks, and a form to answer with."""
    try:
        question = await request.app[LOGINS].question(request.match_info["id"])
    except errors.NotFound as error:
        return _ended("This login has ended", str(error), status=404)
    return _question(request, question)


async def post_answer(request: web.Request) -> web.StreamResponse:
    """`POST /-/login/{id}`: a filled-in form: `deed` (allow, refuse, signup) and what it takes."""
    try:
        _require_own_form(request)
        answer = await _read(request)
    except (errors.Forbidden, errors.InvalidRequest) as error:
        return _ended("This form does not count", str(error), status=replies.status_of(error))
    try:
        return await _act(request, answer)
    except errors.NotFound as error:
        return _ended("This login has ended", str(error), status=404)
    except _MENDED as error:
        question = await request.app[LOGINS].question(request.match_info["id"])
        return _question(request, question, name=answer.proof.name, error=error)


async def offer(
    request: web.Request, error: errors.OneTimePasswordRequired
) -> errors.OneTimePasswordRequired:
    """The same error, with a page on which the code may be typed, if the client takes that.

    Only a write of somebody who is logged in is confirmed so.
    """
    user = error.facts.get("user")
    if not isinstance(user, str) or request.headers.get(_AUTH_TYPE, "").lower() != "web":
        return error
    try:
        begun = await request.app[LOGINS].begin(_asker(request, {}), user)
    except errors.TooManyRequests:
        # A build that never looks at a page is asked for its code as ever.
        return error
    page, done = _addresses(request, begun)
    return errors.OneTimePasswordRequired(user=user, auth_url=page, done_url=done)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A form that was sent."""

    deed: str
    form: str
    proof: Proof
    email: str | None


async def _act(request: web.Request, answer: _Answer) -> web.Response:
    logins, page = request.app[LOGINS], request.match_info["id"]
    match answer.deed:
        case "refuse":
            await logins.refuse(page, answer.form)
            return _ended("Refused", "Nobody was logged in. You can close this window.")
        case "signup":
            user = await logins.sign_up(page, answer.form, answer.proof, answer.email)
        case "allow":
            user = await logins.allow(page, answer.form, answer.proof)
        case _:
            raise errors.InvalidRequest(reason="this form has no such button")
    return _ended(
        f"Done, {user}", "The client in your terminal goes on by itself. You can close this window."
    )


def _require_own_form(request: web.Request) -> None:
    """Raise Forbidden for a form of another site."""
    site = request.headers.get(_FETCH_SITE)
    origin = request.headers.get(hdrs.ORIGIN)
    if site is not None:
        is_own = site in {"same-origin", "none"}
    else:
        # By host and port: a proxy that we were not told of may have taken off the TLS.
        own = urlsplit(request[EXCHANGE].address.base_url).netloc
        is_own = origin is None or origin.partition("://")[2].lower() == own.lower()
    if not is_own:
        raise errors.Forbidden(reason="it was sent by another site; open the page by its own link")


async def _read(request: web.Request) -> _Answer:
    if request.content_type != "application/x-www-form-urlencoded":
        raise errors.InvalidRequest(reason="a form is application/x-www-form-urlencoded")
    body = await bodies.read(request, LIMIT_BYTES)
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise errors.InvalidRequest(reason="the form is damaged") from None
    fields = dict(pairs)
    return _Answer(
        deed=fields.get("deed", ""),
        form=fields.get("form", ""),
        proof=Proof(
            name=fields.get("name", "").strip(),
            password=fields.get("password", ""),
            code="".join(fields.get("code", "").split()),
            client_ip=request[EXCHANGE].address.client_ip,
        ),
        email=fields.get("email", "").strip() or None,
    )


def _said(body: bytes) -> Mapping[str, object]:
    try:
        said = wire.loads(body)
    except wire.Undecodable:
        return {}
    return said if isinstance(said, dict) else {}


def _asker(request: web.Request, said: Mapping[str, object]) -> Asker:
    return Asker(
        client_ip=request[EXCHANGE].address.client_ip,
        agent=_shown(request.headers.get(hdrs.USER_AGENT)),
        host=_shown(said.get("hostname")),
        wants_account=said.get("create") is True,
    )


def _shown(said: object) -> str:
    """One line of what somebody says of themselves, without what would disturb the line."""
    if not isinstance(said, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in said[:_LONGEST_SAID]).strip()


def _addresses(request: web.Request, begun: Begun) -> tuple[str, str]:
    base_url = request[EXCHANGE].address.base_url
    return f"{base_url}/-/login/{begun.page}", f"{base_url}/-/v1/done/{begun.done}"


def _question(
    request: web.Request,
    question: Question,
    *,
    name: str = "",
    error: errors.RegistryError | None = None,
) -> web.Response:
    address = request[EXCHANGE].address
    body = templates.render(
        "login.html",
        registry=urlsplit(address.base_url).netloc,
        question=question,
        browser_ip=address.client_ip,
        can_sign_up=request.app[LOGINS].can_sign_up,
        name=name,
        fault="" if error is None else _sentence(error),
    )
    reply = templates.page(body, status=200 if error is None else replies.status_of(error))
    if isinstance(error, errors.TooManyRequests):
        reply.headers[hdrs.RETRY_AFTER] = str(int(error.retry_after.total_seconds()))
    return reply


def _sentence(error: errors.RegistryError) -> str:
    if isinstance(error, errors.OneTimePasswordRequired):
        return "The one-time password is missing, wrong or used already; type the next one."
    sentence = str(error)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _ended(title: str, sentence: str, *, status: int = 200) -> web.Response:
    shown = f"{sentence[:1].upper()}{sentence[1:]}"
    body = templates.render("ended.html", title=title, sentence=shown)
    return templates.page(body, status=status)
