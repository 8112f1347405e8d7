"""Platforms: what is for one of those that are asked for."""

from __future__ import annotations

import pytest

from proxy.errors import InvalidRequest
from proxy.npm.lockfiles import platforms
from proxy.npm.lockfiles.platforms import Platform

GLIBC, MUSL = Platform("linux", "x64", "glibc"), Platform("linux", "x64", "musl")
MAC = Platform("darwin", "arm64")


@pytest.mark.parametrize(
    ("os", "cpu", "libc", "expected"),
    [
        ((), (), (), {GLIBC, MUSL, MAC}),
        (("linux",), ("x64",), ("musl",), {MUSL}),
        (("linux",), ("x64",), (), {GLIBC, MUSL}),
        (("darwin", "linux"), (), ("glibc",), {GLIBC, MAC}),
        (("!linux",), (), (), {MAC}),
        (("!win32",), ("any",), (), {GLIBC, MUSL, MAC}),
        (("none",), ("none",), (), set()),
        ((), (), ("!musl",), {GLIBC, MAC}),
    ],
)
def test_what_fits_where(os, cpu, libc, expected):
    """Lists name what is fit, with `!` what is not; libc counts on Linux alone."""
    assert {
        each for each in (GLIBC, MUSL, MAC) if platforms.fits(os, cpu, libc, [each])
    } == expected


def test_one_of_several_is_enough():
    """With several platforms asked for, what is for any of them is wanted; for none, nothing."""
    assert platforms.fits(("darwin",), (), (), [GLIBC, MAC])
    assert not platforms.fits(("darwin",), (), (), [GLIBC, MUSL])
    assert not platforms.fits((), (), (), [])


def test_any_libc():
    """A platform without a libc is any of Linux's."""
    assert platforms.fits((), (), ("musl",), [platforms.parse("linux/x64")])


@pytest.mark.parametrize("text", ["linux/x64/glibc", "linux/x64/musl", "darwin/arm64"])
def test_a_platform_is_written_as_it_was_read(text):
    """`os/cpu/libc`, in Node.js's words."""
    assert str(platforms.parse(f" {text} ")) == text


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/x64/glibc/x", "linux/", "a b/c", "linux/x64/uc"]
)
def test_what_is_no_platform(text):
    """The sentence shows what one looks like."""
    with pytest.raises(InvalidRequest, match="as in linux/x64/glibc"):
        platforms.parse(text)
