"""Tokens: how they look, and what is none before anybody looks it up."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import tokens

TOKEN = tokens.new()


def test_a_token_is_sound_and_like_no_other() -> None:
    """New tokens have our prefix and npm's length, and all differ."""
    found = {tokens.new() for _ in range(50)}

    assert len(found) == 50
    assert all(re.fullmatch("phs_[0-9A-Za-z]{36}", token) for token in found)
    assert all(map(tokens.is_sound, found))


@given(st.integers(0, 39), st.characters(codec="utf-8"))
def test_a_mistyped_token_is_none(at: int, sign: str) -> None:
    """One character that is another one is told by the checksum."""
    mistyped = TOKEN[:at] + sign + TOKEN[at + 1 :]

    assert tokens.is_sound(mistyped) == (mistyped == TOKEN)


@pytest.mark.parametrize(
    "text",
    ["", "phs_", TOKEN[:-1], TOKEN + "a", TOKEN + "\n", f" {TOKEN}", TOKEN.upper(),
     TOKEN.replace("phs_", "npm_"), "\udcff" * 40, "phs_" + "\udcff" * 36, "x" * 100_000],
    ids=lambda _: "text",
)  # fmt: skip
def test_what_is_no_token_is_told_at_once(text: str) -> None:
    """A truncated, foreign or broken token is none, whatever bytes it holds."""
    assert not tokens.is_sound(text)


@pytest.mark.parametrize("text", [TOKEN, "", "\udcff"], ids=lambda _: "text")
def test_a_token_is_known_by_its_hash(text: str) -> None:
    """What is kept is the sha256, of whatever a header may hold."""
    wanted = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    assert tokens.hash_of(text) == wanted


def test_what_is_shown_of_a_token_is_not_enough_to_use_it() -> None:
    """Lists show the beginning and the end: enough to tell one's tokens apart."""
    shown = tokens.shown(TOKEN)

    assert shown == f"{TOKEN[:8]}…{TOKEN[-4:]}"
    assert not tokens.is_sound(shown)


@pytest.mark.parametrize("text", ["", "lodash", "npm_lifecycle", "phs_short", "a_b phs_ c"])
def test_what_is_no_token_is_left_alone(text: str) -> None:
    """Text without a token in it is logged as it is."""
    assert tokens.masked(text) == text


def test_tokens_are_masked_wherever_they_stand() -> None:
    """Of a token, ours or npm's, and of a code of a web page nothing but its kind is logged."""
    ours, code = tokens.new(), "phc_abc-DEF_0123456789abcdef"
    theirs = "npm_" + ours.removeprefix("phs_")
    text = f'{{"a":"{ours}","b":"/x/{theirs}?{code}"}}'
    assert tokens.masked(text) == '{"a":"phs_***","b":"/x/npm_***?phc_***"}'
