"""Organisations and teams: `npm org`, `npm team`, and the grants of `npm access`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from proxy.npm import groups, names, wire
from proxy.storage.identity import Permission, Role
from proxy.web import fields, replies
from proxy.web.access import permissions
from proxy.web.keys import EXCHANGE, TEAMS

_ROLES = {role.value: role for role in Role}
_PERMISSIONS = {"read-only": Permission.READ, "read-write": Permission.WRITE}
_DONE = {"ok": True}


async def get_members(request: web.Request) -> web.Response:
    """`GET /-/org/{org}/user`: `{user: role}`."""
    found = await request.app[TEAMS].members(request[EXCHANGE].caller, _org(request))
    return _json({user: role.value for user, role in found.items()})


async def put_member(request: web.Request) -> web.Response:
    """`PUT /-/org/{org}/user`: `{user, role}` to `{org: {name, size}, user, role}`."""
    body, org = await fields.read(request), _org(request)
    role = fields.word({"role": Role.DEVELOPER.value, **body}, "role", _ROLES)
    user = fields.text(body, "user")
    size = await request.app[TEAMS].set_member(request[EXCHANGE].caller, org, user, role)
    return _json({"org": {"name": org, "size": size}, "user": user, "role": role.value})


async def delete_member(request: web.Request) -> web.Response:
    """`DELETE /-/org/{org}/user`: takes `{user}` out of the organisation and its teams."""
    user = fields.text(await fields.read(request), "user")
    await request.app[TEAMS].drop_member(request[EXCHANGE].caller, _org(request), user)
    return _json(_DONE)


async def get_org_packages(request: web.Request) -> web.Response:
    """`GET /-/org/{org}/package`: what its teams were granted, `{package: "write" or "read"}`."""
    caller = request[EXCHANGE].caller
    return permissions(await request.app[TEAMS].org_packages(caller, _org(request)))


async def get_teams(request: web.Request) -> web.Response:
    """`GET /-/org/{org}/team`: `["org:team"]` with `?format=cli` (npm), else objects (pnpm)."""
    org = _org(request)
    found = await request.app[TEAMS].teams(request[EXCHANGE].caller, org)
    if _is_for_npm(request):
        return _json([f"{org}:{each.team}" for each in found])
    return _json([{"name": each.team, "description": each.description} for each in found])


async def put_team(request: web.Request) -> web.Response:
    """`PUT /-/org/{org}/team`: `{name, description?}` makes a team, or describes it anew."""
    body = await fields.read(request)
    description = None if body.get("description") is None else fields.text(body, "description")
    team, org = fields.text(body, "name"), _org(request)
    await request.app[TEAMS].set_team(request[EXCHANGE].caller, org, team, description)
    return _json({**_DONE, "name": team}, status=201)


async def delete_team(request: web.Request) -> web.Response:
    """`DELETE /-/team/{org}/{team}`: removes a team with its grants."""
    await request.app[TEAMS].drop_team(request[EXCHANGE].caller, *_team(request))
    return _json(_DONE)


async def get_team_members(request: web.Request) -> web.Response:
    """`GET /-/team/{org}/{team}/user`: `["user"]` with `?format=cli` (npm), else objects (pnpm)."""
    found = await request.app[TEAMS].team_members(request[EXCHANGE].caller, *_team(request))
    return _json(list(found) if _is_for_npm(request) else [{"name": user} for user in found])


async def put_team_member(request: web.Request) -> web.Response:
    """`PUT /-/team/{org}/{team}/user`: puts `{user}` into the team."""
    user = fields.text(await fields.read(request), "user")
    await request.app[TEAMS].set_team_member(request[EXCHANGE].caller, *_team(request), user)
    return _json(_DONE, status=201)


async def delete_team_member(request: web.Request) -> web.Response:
    """`DELETE /-/team/{org}/{team}/user`: takes `{user}` out of the team."""
    user = fields.text(await fields.read(request), "user")
    await request.app[TEAMS].drop_team_member(request[EXCHANGE].caller, *_team(request), user)
    return _json(_DONE)


async def get_team_packages(request: web.Request) -> web.Response:
    """`GET /-/team/{org}/{team}/package`: `{package: "write" or "read"}`."""
    caller = request[EXCHANGE].caller
    return permissions(await request.app[TEAMS].team_packages(caller, *_team(request)))


async def put_team_package(request: web.Request) -> web.Response:
    """`PUT /-/team/{org}/{team}/package`: grants `{package, permissions}`."""
    body = await fields.read(request)
    name = names.parse(fields.text(body, "package"))
    permission = fields.word(body, "permissions", _PERMISSIONS)
    await request.app[TEAMS].grant(request[EXCHANGE].caller, *_team(request), name, permission)
    return _json(_DONE, status=201)


async def delete_team_package(request: web.Request) -> web.Response:
    """`DELETE /-/team/{org}/{team}/package`: takes the grant of `{package}` back."""
    name = names.parse(fields.text(await fields.read(request), "package"))
    await request.app[TEAMS].revoke(request[EXCHANGE].caller, *_team(request), name)
    return _json(_DONE)


def _org(request: web.Request) -> str:
    return groups.org(request.match_info["org"])


def _team(request: web.Request) -> tuple[str, str]:
    return _org(request), groups.team(request.match_info["team"])


def _is_for_npm(request: web.Request) -> bool:
    return request.query.get("format") == "cli"


def _json(value: Any, *, status: int = 200) -> web.Response:
    return replies.json(wire.dumps(value), status=status)
