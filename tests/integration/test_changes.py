"""Documents that come back with something changed. Numbers are those of the protocol's items."""

from __future__ import annotations

import asyncio
import copy

import pytest

from proxy.storage.hosting import Deed
from tests.changes import BOGUS, Shop, is_told
from tests.people import SECRET, code_of
from tests.publishing import UI, Document, a_publish, address

DOCUMENT = address(UI)


def at(rev: str) -> str:
    return f"{DOCUMENT}/-rev/{rev}"


def without_change(document: Document) -> Document:
    """What of a document no change but its own may touch."""
    kept = {key: value for key, value in document.items() if key not in {"_rev", "time"}}
    return kept | {"time": {k: v for k, v in document["time"].items() if k != "modified"}}


# --- deprecations ---------------------------------------------------------------------------------


async def test_78_deprecation_is_all_that_changes(shop: Shop) -> None:
    """A document that comes back with a text on every version changes only that."""
    before = await shop.document()
    sent = copy.deepcopy(before)
    for manifest in sent["versions"].values():
        manifest["deprecated"] = "use @acme/kit"
        manifest["dist"]["tarball"] = "http://elsewhere.example/x.tgz"
        manifest["dependencies"] = {"left-pad": "*"}

    told = await shop.ann.ask("PUT", DOCUMENT, sent)

    after = await shop.document()
    assert is_told(told)
    assert told.json()["rev"] == after["_rev"] != before["_rev"]
    expected = copy.deepcopy(before)
    for manifest in expected["versions"].values():
        manifest["deprecated"] = "use @acme/kit"
    assert without_change(after) == without_change(expected)
    assert (await shop.audit())[0] == ("ann", "deprecate")


async def test_78_empty_text_takes_a_deprecation_away(shop: Shop) -> None:
    """A deprecation of "" removes the field, from the abbreviated form too."""
    for text in ("old", ""):
        sent = await shop.document()
        sent["versions"]["1.0.0"]["deprecated"] = text
        assert is_told(await shop.ann.ask("PUT", DOCUMENT, sent))
        accept = "application/vnd.npm.install-v1+json"
        seen = (await shop.ann.ask("GET", DOCUMENT, accept=accept)).json()
        assert seen["versions"]["1.0.0"].get("deprecated", "") == text

    assert "deprecated" not in (await shop.document())["versions"]["1.0.0"]


async def test_a_document_without_a_version_keeps_it(shop: Shop) -> None:
    """Where no revision is in the address, a version that is missing was not taken away."""
    sent = await shop.document()
    del sent["versions"]["1.0.0"]

    assert is_told(await shop.ann.ask("PUT", DOCUMENT, sent))
    assert await shop.versions() == ["1.0.0", "1.1.0"]


async def test_many_changes_in_one_document(shop: Shop) -> None:
    """Texts, tags, owners, readme and a removal in one document are done by one write."""
    sent = await shop.document()
    del sent["versions"]["1.1.0"]
    sent["versions"]["1.0.0"]["deprecated"] = "old"
    sent["dist-tags"] = {"latest": "1.0.0", "lts": "1.0.0"}
    sent["maintainers"].append({"name": "bob", "email": ""})
    sent["readme"] = "# moved"
    sent["users"] = {"ann": True}

    told = await shop.ann.ask("PUT", at(sent["_rev"]), sent)

    after = await shop.document()
    assert is_told(told)
    assert after["_rev"].partition("-")[0] == str(int(sent["_rev"].partition("-")[0]) + 1)
    assert list(after["versions"]) == ["1.0.0"]
    assert after["versions"]["1.0.0"]["deprecated"] == "old"
    assert after["dist-tags"] == {"latest": "1.0.0", "lts": "1.0.0"}
    assert [each["name"] for each in after["maintainers"]] == ["ann", "bob"]
    assert (after["readme"], after["users"]) == ("# moved", {"ann": True})


async def test_73_whole_document_with_one_attachment(shop: Shop) -> None:
    """All that npm 6 has read, sent with a new version, adds that one and changes nothing else."""
    before = await shop.document()
    new = a_publish("1.2.0").document
    sent = copy.deepcopy(before)
    sent["versions"] |= new["versions"]
    sent["dist-tags"] = {"latest": "1.2.0"}
    sent["_attachments"] = new["_attachments"]
    sent["versions"]["1.0.0"]["description"] = "changed"

    told = await shop.ann.ask("PUT", DOCUMENT, sent)

    after = await shop.document()
    assert is_told(told)
    assert list(after["versions"]) == ["1.0.0", "1.1.0", "1.2.0"]
    for version in before["versions"]:
        assert after["versions"][version] == before["versions"][version]


# --- revisions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_address", [True, False])
async def test_an_old_revision_is_a_conflict(shop: Shop, in_address: bool) -> None:
    """Who has read what is not there any more is told to read again, and changes nothing."""
    old = await shop.document()
    await shop.publish("1.2.0")
    old["versions"]["1.0.0"]["deprecated"] = "old"

    told = await shop.ann.ask("PUT", at(old["_rev"]) if in_address else DOCUMENT, old)

    assert told.status == 409
    assert "read it again" in told.json()["error"]
    assert await shop.versions() == ["1.0.0", "1.1.0", "1.2.0"]
    assert "deprecated" not in (await shop.document())["versions"]["1.0.0"]


async def test_of_many_who_have_read_the_same_one_wins(shop: Shop) -> None:
    """Of documents sent at once at one revision one is taken, all others read again."""
    read = await shop.document()
    sent = [copy.deepcopy(read) for _ in range(8)]
    for number, document in enumerate(sent):
        document["versions"]["1.0.0"]["deprecated"] = f"text {number}"
        document["dist-tags"][f"tag-{number}"] = "1.0.0"

    told = await asyncio.gather(*(shop.ann.ask("PUT", DOCUMENT, each) for each in sent))

    (winner,) = (number for number, each in enumerate(told) if each.status == 201)
    assert sorted(each.status for each in told) == [201, *[409] * 7]
    after = await shop.document()
    assert after["versions"]["1.0.0"]["deprecated"] == f"text {winner}"
    assert after["dist-tags"] == {"latest": "1.1.0", f"tag-{winner}": "1.0.0"}


async def test_an_echo_of_an_old_revision_is_a_conflict(shop: Shop) -> None:
    """A revision is compared also where the document would change nothing."""
    sent = await shop.document()

    assert (await shop.ann.ask("PUT", at(BOGUS), sent)).status == 409
    assert is_told(await shop.ann.ask("PUT", at(sent["_rev"]), sent))
    assert await shop.rev() == sent["_rev"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_77_undefined_revision(shop: Shop, method: str) -> None:
    """A revision `undefined`, as yarn classic writes it if it has read none, is a conflict."""
    sent = {"maintainers": [{"name": "bob", "email": ""}]} if method == "PUT" else None

    told = await shop.ann.ask(method, at("undefined"), sent)

    assert told.status == 409
    assert await shop.versions() == ["1.0.0", "1.1.0"]


async def test_without_a_revision_a_document_is_taken(shop: Shop) -> None:
    """A client that names no revision asks for no comparison."""
    sent = await shop.document()
    del sent["_rev"]
    sent["versions"]["1.0.0"]["deprecated"] = "old"

    assert is_told(await shop.ann.ask("PUT", DOCUMENT, sent))


# --- rights ---------------------------------------------------------------------------------------


async def test_who_owns_nothing_changes_nothing(shop: Shop) -> None:
    """A reader's document is refused with a reason, whatever it would change."""
    before = await shop.document()
    for key, value in (
        ("dist-tags", {"latest": "1.0.0"}),
        ("maintainers", [{"name": "eve", "email": ""}]),
        ("readme", "# eve was here"),
    ):
        told = await shop.eve.ask("PUT", at(before["_rev"]), {**before, key: value})
        assert (told.status, told.json()["error"]) == (403, "eve is no owner of @acme/ui")
    deprecated = copy.deepcopy(before)
    deprecated["versions"]["1.0.0"]["deprecated"] = "x"
    assert (await shop.eve.ask("PUT", DOCUMENT, deprecated)).status == 403

    assert await shop.document() == before


async def test_one_change_too_many_refuses_all(shop: Shop) -> None:
    """A star in a document that also changes what is not the reader's to change is not given."""
    before = await shop.document()
    sent = {**before, "users": {"eve": True}, "dist-tags": {"latest": "1.0.0"}}

    assert (await shop.eve.ask("PUT", DOCUMENT, sent)).status == 403
    assert await shop.document() == before


async def test_nobody_changes_nothing(shop: Shop) -> None:
    """Without credentials every change is 401."""
    before = await shop.document()
    for method, path, body in (
        ("PUT", DOCUMENT, b"{}"),
        ("DELETE", at(before["_rev"]), None),
        ("DELETE", f"/{UI}/-/ui-1.0.0.tgz/-rev/{before['_rev']}", None),
        ("PUT", f"/-/package{DOCUMENT}/dist-tags/next", b'"1.0.0"'),
        ("DELETE", f"/-/package{DOCUMENT}/dist-tags/next", None),
        ("PUT", f"/-/package{DOCUMENT}/owners", b'{"user":"eve"}'),
        ("DELETE", f"/-/package{DOCUMENT}/owners/ann", None),
        ("PUT", "/-/user/v1/star", b'{"package":"@acme/ui"}'),
        ("GET", "/-/user/v1/star", None),
    ):
        told = await shop.town.registry.ask(method, path, None, body)
        assert told.status == 401, (method, path)
    assert await shop.document() == before


async def test_what_comes_from_an_uplink_is_not_changed(shop: Shop) -> None:
    """A name of an uplink is refused with the way out, and the uplink hears nothing."""
    shop.uplink.publish("left-pad", "1.0.0")
    for method, path, body in (
        ("PUT", "/left-pad", {"_id": "left-pad", "users": {"ann": True}}),
        ("DELETE", f"/left-pad/-rev/{BOGUS}", None),
        ("DELETE", f"/left-pad/-/left-pad-1.0.0.tgz/-rev/{BOGUS}", None),
        ("PUT", "/-/package/left-pad/dist-tags/next", "1.0.0"),
        ("DELETE", "/-/package/left-pad/dist-tags/next", None),
        ("PUT", "/-/package/left-pad/owners", {"user": "ann"}),
        ("PUT", "/-/user/package/left-pad/star", None),
    ):
        status, sentence = await shop.ann.refused(method, path, body)
        assert (status, "comes from the uplink npm" in sentence) == (403, True), (method, path)
    assert shop.uplink.requests == []


async def test_a_token_to_read_with_changes_nothing(shop: Shop) -> None:
    """What a read-only token may not do is a star as well."""
    reader = await shop.town.person("ann", is_readonly=True)
    sent = await shop.document()
    sent["versions"]["1.0.0"]["deprecated"] = "x"

    for method, path, body in (
        ("PUT", DOCUMENT, sent),
        ("PUT", "/-/user/v1/star", {"package": UI}),
        ("PUT", f"/-/package{DOCUMENT}/dist-tags/next", "1.0.0"),
        ("DELETE", at(sent["_rev"]), None),
    ):
        status, sentence = await reader.refused(method, path, body)
        assert (status, sentence) == (403, "this token is for reading only")


# --- the second factor ----------------------------------------------------------------------------


async def test_88_one_password_for_one_request(shop: Shop) -> None:
    """A one-time password is asked for, and is good for all that one request changes."""
    deed = Deed("ann", shop.clock.now())
    await shop.town.people.set_totp("ann", SECRET, "auth-and-writes", deed)
    sent = await shop.document()
    del sent["versions"]["1.1.0"]
    sent["dist-tags"] = {"latest": "1.0.0", "lts": "1.0.0"}
    sent["users"] = {"ann": True}
    path, code = at(sent["_rev"]), code_of(shop.town.registry)

    without = await shop.ann.ask("PUT", path, sent)
    told = await shop.ann.ask("PUT", path, sent, npm_otp=code)
    again = await shop.ann.ask("PUT", f"/-/package{DOCUMENT}/dist-tags/a", "1.0.0", npm_otp=code)
    last = f"/{UI}/-/ui-1.1.0.tgz/-rev/{await shop.rev()}"

    assert (without.status, without.headers["www-authenticate"]) == (401, "OTP")
    assert is_told(told)
    assert again.status == 401
    assert is_told(await shop.ann.ask("DELETE", last, npm_otp=code))
    assert await shop.tags() == {"latest": "1.0.0", "lts": "1.0.0"}
