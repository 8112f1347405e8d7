"""Any sequence of writes: HostedIndex on SQLite answers what plain dicts answer."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.errors import RegistryError
from proxy.npm.updates import (
    Change,
    Deprecations,
    Owners,
    Person,
    Readme,
    Removal,
    Stars,
    Tags,
    WholeRemoval,
)
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.hosting import Access, Deed, HostedIndex, NewVersion
from tests.fakes.memory_hosting import MemoryHosted
from tests.hosting import NOON, a_version, newest

# Few of everything, so that calls meet each other.
NAMES = ("a", "@a/b")
names = st.sampled_from(["a", "a", "@a/b"])
versions = st.sampled_from(["1.0.0", "1.0.0+x", "2.0.0", "3.0.0-rc", "4.0.0"])
tags = st.sampled_from(["latest", "next", "beta"])
users = st.sampled_from(["ann", "bob"])
digests = st.sampled_from(["aa" * 64, "bb" * 64])
deeds = st.builds(
    Deed, users, st.integers(0, 3).map(lambda each: NOON + each * timedelta(minutes=9))
)
# What a caller believes is there: what is, what is not any more, or that it does not matter.
beliefs = st.sampled_from(["this", "any", "another"])
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        Deprecations,
        st.dictionaries(versions, st.sampled_from(["old", ""]), min_size=1, max_size=2),
    ),
    st.builds(Tags, st.dictionaries(tags, st.none() | versions, min_size=1, max_size=2)),
    st.builds(Removal, st.tuples(versions)),
    st.just(WholeRemoval()),
    st.builds(Owners, st.lists(st.builds(Person, users), min_size=1).map(tuple)),
    st.builds(Stars, st.dictionaries(users, st.booleans(), min_size=1)),
    st.builds(Readme, st.sampled_from(["one", "two"])),
)


class HostedMachine(RuleBasedStateMachine):
    """SqliteHosted against MemoryHosted."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.database = open_database(Path(self.folder.name) / "hosted.sqlite")
        self.runner.run(self.database.__aenter__())
        self.kept: tuple[HostedIndex, HostedIndex] = (SqliteHosted(self.database), MemoryHosted())
        for version in ("0.1.0", "0.2.0", "0.3.0"):
            self.both(partial(_publish, a_version(version, "a")))

    def teardown(self) -> None:
        self.runner.run(self.database.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()

    def both(self, call: Callable[[HostedIndex], Awaitable[Any]]) -> None:
        real, plain = (self.runner.run(outcome(call, each)) for each in self.kept)
        assert real == plain

    @rule(
        name=names,
        version=versions,
        tag=tags,
        digest=digests,
        access=st.none() | st.sampled_from(Access),
        deed=deeds,
    )
    def publish(
        self, name: str, version: str, tag: str, digest: str, access: Access | None, deed: Deed
    ) -> None:
        new = a_version(version, name, tag=tag, digest=digest, access=access, readme=version)
        self.both(lambda hosted: hosted.publish(new, deed))

    @rule(name=names, texts=st.dictionaries(versions, st.sampled_from(["old", "", None])))
    def deprecate(self, name: str, texts: dict[str, str | None]) -> None:
        self.both(lambda hosted: hosted.deprecate(name, texts, Deed("ann", NOON)))

    @rule(name=names, gone=st.lists(versions, min_size=1, max_size=2), deed=deeds, belief=beliefs)
    def remove_versions(self, name: str, gone: list[str], deed: Deed, belief: str) -> None:
        async def remove(hosted: HostedIndex) -> str:
            expected = await believed(hosted, name, belief)
            return await hosted.remove_versions(name, gone, deed, expected, latest=newest)

        self.both(remove)

    @rule(name=names, which=st.integers(0, 9), deed=deeds)
    def remove_one_that_is_there(self, name: str, which: int, deed: Deed) -> None:
        async def remove(hosted: HostedIndex) -> str | None:
            package = await hosted.package(name)
            if package is None:
                return None
            gone = package.versions[which % len(package.versions)].version
            return await hosted.remove_versions(name, [gone], deed, latest=newest)

        self.both(remove)

    @rule(name=names, deed=deeds, belief=beliefs)
    def remove_package(self, name: str, deed: Deed, belief: str) -> None:
        async def remove(hosted: HostedIndex) -> str:
            return await hosted.remove_package(name, deed, await believed(hosted, name, belief))

        self.both(remove)

    @rule(name=names, tag=tags, version=versions, deed=deeds)
    def set_tag(self, name: str, tag: str, version: str, deed: Deed) -> None:
        self.both(lambda hosted: hosted.set_tag(name, tag, version, deed))

    @rule(name=names, tag=tags, deed=deeds)
    def drop_tag(self, name: str, tag: str, deed: Deed) -> None:
        self.both(lambda hosted: hosted.drop_tag(name, tag, deed))

    @rule(name=names, owners=st.lists(users, max_size=3), deed=deeds)
    def set_owners(self, name: str, owners: list[str], deed: Deed) -> None:
        self.both(lambda hosted: hosted.set_owners(name, owners, deed))

    @rule(name=names, user=users, is_starred=st.booleans(), deed=deeds)
    def star(self, name: str, user: str, is_starred: bool, deed: Deed) -> None:
        self.both(lambda hosted: hosted.star(name, user, is_starred, deed))

    @rule(name=names, access=st.sampled_from(Access), deed=deeds)
    def set_access(self, name: str, access: Access, deed: Deed) -> None:
        self.both(lambda hosted: hosted.set_access(name, access, deed))

    @rule(name=names, asked=st.lists(changes, min_size=1, max_size=4), deed=deeds, belief=beliefs)
    def change(self, name: str, asked: list[Change], deed: Deed, belief: str) -> None:
        async def change(hosted: HostedIndex) -> str:
            expected = await believed(hosted, name, belief)
            return await hosted.change(name, asked, deed, expected, latest=newest)

        self.both(change)

    @rule(name=names, version=versions, user=users, digest=digests)
    def look(self, name: str, version: str, user: str, digest: str) -> None:
        bare = name.rpartition("/")[2]
        self.both(lambda hosted: hosted.tarball(name, f"{bare}-{version}.tgz"))
        self.both(lambda hosted: hosted.is_taken(name, version))
        self.both(lambda hosted: hosted.owned_by(user))
        self.both(lambda hosted: hosted.starred_by(user))
        self.both(lambda hosted: hosted.is_referenced(digest))

    @invariant()
    def all_of_it_agrees(self) -> None:
        for name in NAMES:
            self.both(lambda hosted, name=name: hosted.package(name))
            self.both(lambda hosted, name=name: hosted.head(name))
        self.both(lambda hosted: hosted.search_rows())

    @invariant()
    def latest_is_there(self) -> None:
        """A package that is there has a `latest`, and every tag names one of its versions."""
        for name in NAMES:
            package = self.runner.run(self.kept[0].package(name))
            if package is not None:
                held = {version.version for version in package.versions}
                assert "latest" in package.tags
                assert set(package.tags.values()) <= held


async def _publish(new: NewVersion, hosted: HostedIndex) -> str:
    return await hosted.publish(new, Deed("ann", NOON))


async def outcome(call: Callable[[HostedIndex], Awaitable[Any]], hosted: HostedIndex) -> Any:
    """What came of it, without the part of a revision that is random."""
    try:
        found = await call(hosted)
    except RegistryError as error:
        return type(error), str(error)
    if isinstance(found, str):
        return found.partition("-")[0]
    if hasattr(found, "revision"):
        return replace(found, revision=found.revision.partition("-")[0])
    return found


async def believed(hosted: HostedIndex, name: str, belief: str) -> str | None:
    """The revision that a caller names."""
    if belief == "any":
        return None
    return await hosted.revision_of(name) if belief == "this" else "0-" + "0" * 32


TestHosted = HostedMachine.TestCase
TestHosted.__doc__ = "No sequence of writes makes the two answer differently."
TestHosted.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
