"""One-time passwords: the vectors of RFC 6238, and what is no code."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from proxy.npm import totp

# RFC 6238, appendix B: the secret "12345678901234567890"; of its eight digits we have the last six.
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
VECTORS = [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")]


@pytest.mark.parametrize(("seconds", "code"), VECTORS)
def test_the_vectors_of_the_standard(seconds: int, code: str) -> None:
    """The code of a moment is the standard's, and its step is the half minute it belongs to."""
    at = datetime.fromtimestamp(seconds, UTC)

    assert totp.step_of(SECRET, code, at) == seconds // 30


@pytest.mark.parametrize(
    ("offset", "is_good"), [(-31, False), (-30, True), (0, True), (59, True), (60, False)]
)
def test_a_code_is_good_for_a_step_before_and_after(offset: int, is_good: bool) -> None:
    """Clocks may differ by half a minute; the step is the code's own, not the clock's."""
    begin = datetime.fromtimestamp(1_111_111_080, UTC)

    found = totp.step_of(SECRET, "081804", begin + timedelta(seconds=offset))

    assert found == (1_111_111_080 // 30 if is_good else None)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "000000",
        "81804",
        "0081804",
        " 081804",
        "\u0966\u096e\u0967\u096e\u0966\u096a",
        "\uff10\uff18\uff11\uff18\uff10\uff14",
        "\udcff",
        "a\0",
        "1" * 99_999,
    ],
    ids=lambda _: "code",
)
def test_what_is_no_code_is_refused(code: str) -> None:
    """Other digits and whatever bytes a header may hold are wrong, and no error."""
    assert totp.step_of(SECRET, code, datetime.fromtimestamp(1_111_111_109, UTC)) is None


def test_secrets_are_all_different() -> None:
    """A secret has 160 random bits, written as authenticators read them."""
    found = {totp.new_secret() for _ in range(50)}

    assert len(found) == 50
    assert all(re.fullmatch("[A-Z2-7]{32}", secret) for secret in found)


def test_an_authenticator_reads_whose_secret_it_is() -> None:
    """The address holds the secret, the user and our name, its odd characters escaped."""
    address = totp.address(SECRET, "ann&b")

    assert address.startswith("otpauth://totp/Packhouse:ann%26b?")
    assert f"secret={SECRET}" in address
    assert "issuer=Packhouse" in address
