"""Packages that live here as search results, in the public registry's shape.

Clients rely on it: npm iterates `maintainers` and reads `date`, `keywords` and `links` without
looking whether they are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.npm import names, wire
from proxy.storage.hosting import SearchRow
from proxy.storage.identity import People

_DETAIL = {"quality": 1, "popularity": 1, "maintenance": 1}


class Results:
    """Makes the results of one answer; a person of several packages is looked up once."""

    def __init__(self, people: People, base_url: str) -> None:
        self._people = people
        self._base_url = base_url
        self._known: dict[str, dict[str, str]] = {}

    async def of(self, rows: Sequence[SearchRow]) -> list[dict[str, Any]]:
        """The results in their order."""
        return [await self._result(row) for row in rows]

    async def _result(self, row: SearchRow) -> dict[str, Any]:
        name, excerpt = names.parse(row.name), wire.loads(row.excerpt)
        package = {
            "name": row.name,
            "scope": name.scope or "unscoped",
            "version": row.version,
            "description": row.description,
            "keywords": list(row.keywords),
            "date": row.published_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "links": {
                "npm": f"{self._base_url}/{name.path}",
                **{key: url for key in _LINKS if (url := _url(excerpt.get(key)))},
            },
            **{key: excerpt[key] for key in ("author", "license") if excerpt.get(key)},
            "publisher": await self._person(row.published_by),
            "maintainers": [await self._person(owner) for owner in row.owners],
        }
        flags = {"unstable": True} if row.version.startswith("0.") else {}
        score = {"final": 1, "detail": _DETAIL}
        return {"package": package, "score": score, "searchScore": 1, "flags": flags}

    async def _person(self, user: str) -> dict[str, str]:
        found = self._known.get(user)
        if found is None:
            known = await self._people.user(user)
            email = known.email if known is not None else None
            found = self._known[user] = {"username": user, "email": email or ""}
        return found


_LINKS = ("homepage", "repository", "bugs")


def _url(said: Any) -> str | None:
    """A homepage, repository or list of bugs is an address, or an object that has one."""
    url = said.get("url") if isinstance(said, dict) else said
    return url.removeprefix("git+").removesuffix(".git") if isinstance(url, str) else None
