"""What a well-behaved npm registry says to each request, from the data of a FakeUplink."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes import packing
from tests.fakes.exchange import Reply, Seen, json_reply

if TYPE_CHECKING:
    from tests.fakes.uplink import FakeUplink

ABBREVIATED_TYPE = "application/vnd.npm.install-v1+json"
NOT_FOUND = {"error": "Not found"}


def answer(uplink: FakeUplink, request: Seen) -> Reply:
    """The reply, after the token was looked at and before HEAD loses its body."""
    if uplink.token and request.headers.get("authorization") != f"Bearer {uplink.token}":
        return json_reply({"error": "you must be logged in"}, 401)
    reply = _route(uplink, request)
    if request.method == "HEAD" and not uplink.supports_head:
        return json_reply({"error": "method not allowed"}, 405)
    return replace(reply, is_head=request.method == "HEAD")


def _route(uplink: FakeUplink, request: Seen) -> Reply:
    path = request.decoded_path
    if (data := uplink.tarballs.get(path, uplink.tarballs.get(request.path))) is not None:
        return _tarball(uplink, request, data)
    if path.startswith("/-/"):
        return _service(uplink, request, path)
    if match := re.fullmatch(r"/downloads/point/([^/]+)/(.+)", path):
        return _downloads(*match.groups())
    return _package(uplink, request, path)


def _package(uplink: FakeUplink, request: Seen, path: str) -> Reply:
    match = re.fullmatch(r"/(@[^/]+/[^/]+|[^/@][^/]*)(?:/([^/]+))?", path)
    document = uplink.packages.get(match[1]) if match else None
    if document is None or match is None:
        return json_reply(NOT_FOUND, 404)
    if match[2] is None:
        return _packument(uplink, request, document)
    version = document["dist-tags"].get(match[2], match[2])
    if version not in document["versions"]:
        return json_reply(f"version not found: {match[2]}", 404)
    return json_reply(document["versions"][version])


def _packument(uplink: FakeUplink, request: Seen, document: dict[str, Any]) -> Reply:
    wants_corgi = ABBREVIATED_TYPE in request.headers.get("accept", "")
    content_type = "application/json"
    if wants_corgi and uplink.supports_abbreviated:
        content_type, document = ABBREVIATED_TYPE, packing.abbreviated(document)
    body = json.dumps(document, separators=(",", ":")).encode()
    headers = {"content-type": content_type, "vary": "Accept, Accept-Encoding"}
    if uplink.sends_etag:
        headers["etag"] = f'"{hashlib.sha1(body).hexdigest()}"'
    modified = document.get("modified") or document.get("time", {}).get("modified")
    if uplink.sends_last_modified and isinstance(modified, str):
        headers["last-modified"] = format_datetime(datetime.fromisoformat(modified), usegmt=True)
    if uplink.revalidates and _is_unchanged(request, headers):
        return Reply(304, headers)
    return _maybe_gzip(uplink, request, Reply(200, headers, body))


def _is_unchanged(request: Seen, headers: dict[str, str]) -> bool:
    """If-None-Match wins over If-Modified-Since (RFC 9110 13.2.2).

    The latter compares as text, as simple servers do.
    """
    if tags := request.headers.get("if-none-match"):
        ours = headers.get("etag", "").removeprefix("W/")
        return bool(ours) and ours in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    since = request.headers.get("if-modified-since")
    return since is not None and since == headers.get("last-modified")


def _maybe_gzip(uplink: FakeUplink, request: Seen, reply: Reply) -> Reply:
    if not uplink.supports_gzip or "gzip" not in request.headers.get("accept-encoding", ""):
        return reply
    headers = {**reply.headers, "content-encoding": "gzip"}
    return Reply(reply.status, headers, gzip.compress(reply.body, 1, mtime=0))


def _tarball(uplink: FakeUplink, request: Seen, data: bytes) -> Reply:
    headers = {
        "content-type": "application/octet-stream",
        "etag": f'"{hashlib.sha1(data).hexdigest()}"',
        "accept-ranges": "bytes",
    }
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    condition = request.headers.get("if-range", headers["etag"])
    if not match or not uplink.supports_range or condition != headers["etag"]:
        return Reply(200, headers, data)
    start, end = int(match[1]), int(match[2] or len(data) - 1)
    if start >= len(data):
        return Reply(416, {**headers, "content-range": f"bytes */{len(data)}"})
    end = min(end, len(data) - 1)
    headers["content-range"] = f"bytes {start}-{end}/{len(data)}"
    return Reply(206, headers, data[start : end + 1])


def _service(uplink: FakeUplink, request: Seen, path: str) -> Reply:
    """What is below /-/: search, keys, attestations, audits, dist-tags, ping."""
    if path == "/-/v1/search":
        return _maybe_gzip(uplink, request, _search(uplink, request))
    if path == "/-/npm/v1/keys" and uplink.keys:
        return json_reply({"keys": uplink.keys})
    if match := re.fullmatch(r"/-/npm/v1/attestations/(.+)", path):
        found = uplink.attestations.get(match[1])
        return json_reply({"attestations": found}) if found else json_reply(NOT_FOUND, 404)
    if path.startswith("/-/npm/v1/security/") and request.method == "POST":
        return _maybe_gzip(uplink, request, _audit(uplink, request, path))
    if match := re.fullmatch(r"/-/package/(.+)/dist-tags", path):
        document = uplink.packages.get(match[1])
        return json_reply(document["dist-tags"]) if document else json_reply(NOT_FOUND, 404)
    return json_reply({}) if path == "/-/ping" else json_reply(NOT_FOUND, 404)


def _search(uplink: FakeUplink, request: Seen) -> Reply:
    query = parse_qs(urlsplit(request.target).query)
    text = query.get("text", [""])[0].lower()
    start, size = int(query.get("from", ["0"])[0]), int(query.get("size", ["20"])[0])
    found = [doc for name, doc in uplink.packages.items() if text in name.lower()]
    objects = [_hit(document) for document in found[start : start + size]]
    total = {"total": len(found), "time": "Wed Jan 01 2020 00:00:00 GMT+0000"}
    return json_reply({"objects": objects, **total})


def _hit(document: dict[str, Any]) -> dict[str, Any]:
    package = {
        "name": document["name"],
        "version": document["dist-tags"].get("latest", next(iter(document["versions"]))),
        "description": document.get("description", ""),
        "keywords": [],
        "date": document["time"]["modified"],
        "links": {},
        "publisher": {"username": "author", "email": "author@registry.example"},
        "maintainers": [{"username": "author", "email": "author@registry.example"}],
    }
    detail = {"quality": 1, "popularity": 1, "maintenance": 1}
    score = {"final": 1, "detail": detail}
    return {"package": package, "score": score, "searchScore": 1, "flags": {}}


def _audit(uplink: FakeUplink, request: Seen, path: str) -> Reply:
    is_gzip = request.headers.get("content-encoding") == "gzip"
    asked = json.loads(gzip.decompress(request.body) if is_gzip else request.body)
    if path.endswith("/advisories/bulk"):
        return json_reply(
            {name: uplink.advisories[name] for name in asked if name in uplink.advisories}
        )
    if not path.endswith(("/audits", "/audits/quick")):
        return json_reply(NOT_FOUND, 404)
    found = {item["id"]: item for items in uplink.advisories.values() for item in items}
    severities = dict.fromkeys(("info", "low", "moderate", "high", "critical"), 0)
    metadata = {"vulnerabilities": severities, "dependencies": len(asked.get("dependencies", {}))}
    return json_reply({"actions": [], "advisories": found, "muted": [], "metadata": metadata})


def _downloads(period: str, name: str) -> Reply:
    dates = {"start": "2020-01-01", "end": "2020-01-07", "period": period}
    return json_reply({"downloads": 42, **dates, "package": name})
