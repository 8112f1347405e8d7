"""The table of routes: each address leads to its handler, and every other request to a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.web import (
    accounts,
    audits,
    login,
    ops,
    packuments,
    relay,
    routes,
    search,
    tarballs,
    tokens,
)
from proxy.web.middleware import Handler
from proxy.web.routes import TABLE, Table
from proxy.web.targets import parse

FOUND = [
    ("GET", "/", ops.get_root, {}),
    ("HEAD", "/", ops.get_root, {}),
    ("GET", "/lodash", packuments.get_packument, {}),
    ("HEAD", "/@s%2fn", packuments.get_packument, {}),
    ("GET", "/@s/n/1.0.0", packuments.get_manifest, {}),
    ("GET", "/@s/n/-/n-1.0.0.tgz", tarballs.get_tarball, {}),
    ("HEAD", "/n/-/n-1.0.0.tgz", tarballs.get_tarball, {}),
    ("GET", "/-/package/n/dist-tags", packuments.get_dist_tags, {"package": "n"}),
    ("GET", "/-/package/@s/n/dist-tags", packuments.get_dist_tags, {"package": "@s/n"}),
    ("GET", "/-/package/@s%2fn/dist-tags", packuments.get_dist_tags, {"package": "@s/n"}),
    ("GET", "/-/package/%40s%2Fn/dist-tags/", packuments.get_dist_tags, {"package": "@s/n"}),
    ("POST", "/-/npm/v1/security/advisories/bulk", audits.post_bulk, {}),
    ("POST", "/-/npm/v1/security/audits/quick", audits.post_tree, {}),
    ("POST", "/-/npm/v1/security/audits", audits.post_tree, {}),
    ("GET", "/-/npm/v1/keys", relay.get_keys, {}),
    ("GET", "/-/npm/v1/attestations/n@1.0.0", relay.get_attestations, {"package": "n@1.0.0"}),
    ("GET", "/-/npm/v1/attestations/@s/n@1", relay.get_attestations, {"package": "@s/n@1"}),
    ("GET", "/-/npm/v1/attestations/@s%2fn@1", relay.get_attestations, {"package": "@s/n@1"}),
    (
        "GET",
        "/downloads/point/last-week/@s/n",
        relay.get_downloads,
        {"kind": "point", "period": "last-week", "package": "@s/n"},
    ),
    ("GET", "/-/v1/search?text=x", search.get_search, {}),
    ("GET", "/-/ping?write=true", ops.get_ping, {}),
    ("GET", "/-/whoami", accounts.get_whoami, {}),
    ("GET", "/-/health", ops.get_health, {}),
    ("GET", "/-/ready", ops.get_ready, {}),
    ("GET", "/-/metrics", ops.get_metrics, {}),
    ("OPTIONS", "/n", routes.refuse_method, {"allowed": "GET, HEAD, PUT"}),
    ("TRACE", "/n", routes.refuse_method, {"allowed": "GET, HEAD, PUT"}),
    ("POST", "/", routes.refuse_method, {"allowed": "GET, HEAD"}),
    ("POST", "/-/ping", routes.refuse_method, {"allowed": "GET, HEAD"}),
    ("GET", "/-/npm/v1/security/audits", routes.refuse_method, {"allowed": "POST"}),
    (
        "PATCH",
        "/-/package/n/dist-tags",
        routes.refuse_method,
        {"allowed": "GET, HEAD, POST, PUT"},
    ),
    ("GET", "/-/nope", routes.refuse_target, {}),
    ("GET", "/-", routes.refuse_target, {}),
    ("GET", "/-/ping/more", routes.refuse_target, {}),
    ("GET", "/-/package/@s/dist-tags", routes.refuse_target, {}),
    ("GET", "/-/package/a/b/dist-tags", routes.refuse_target, {}),
    ("PUT", "/-/user/org.couchdb.user:x", accounts.put_user, {"user": "org.couchdb.user:x"}),
    ("DELETE", "/-/user/token/phs_x", accounts.delete_token, {"token": "phs_x"}),
    ("DELETE", "/-/npm/v1/tokens/token/k1", tokens.delete_token, {"key": "k1"}),
    ("POST", "/-/v1/login", login.post_login, {}),
    ("GET", "/-/v1/done/abc", login.get_done, {"id": "abc"}),
    ("GET", "/-/login/abc", login.get_login, {"id": "abc"}),
    ("POST", "/-/login/abc", login.post_answer, {"id": "abc"}),
    ("PUT", "/-/login/abc", routes.refuse_method, {"allowed": "GET, HEAD, POST"}),
    ("GET", "/..", routes.refuse_target, {}),
]


@pytest.mark.parametrize(("method", "raw", "handler", "words"), FOUND)
def test_an_address_leads_to_its_handler(
    method: str, raw: str, handler: Handler, words: dict[str, str]
) -> None:
    """Method and target give one handler, and what the words of its path stood for."""
    found = Table(TABLE).find(method, parse(raw))

    assert found.handler is handler
    assert dict(found.words) == words


def test_every_row_can_be_reached() -> None:
    """No row of the table is hidden by another."""
    table = Table(TABLE)

    for row in TABLE:
        raw = (
            row.path.replace("{package}", "n")
            .replace("{file}", "n-1.tgz")
            .replace("{kind}", "point")
        )
        found = table.find(row.method, parse(raw.replace("{", "").replace("}", "")))
        assert (found.handler, found.path) == (row.handler, row.path)


@given(st.sampled_from(["GET", "HEAD", "PUT", "BREW"]), st.text("/-@%2fanpm.", max_size=40))
def test_every_request_has_an_answer(method: str, raw: str) -> None:
    """No method and target leave the table without a match."""
    assert callable(Table(TABLE).find(method, parse("/" + raw)).handler)
