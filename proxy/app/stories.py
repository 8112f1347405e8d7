"""What the registry does, told by parts that share one storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from proxy.app import uplinks
from proxy.app.storage import Storage
from proxy.config.settings import Config
from proxy.npm.policy import Rules
from proxy.registry.answers import Document, Finished, Held
from proxy.registry.bases import Bases
from proxy.registry.hosting.changing import Changing
from proxy.registry.hosting.owning import Owning
from proxy.registry.hosting.published import Published
from proxy.registry.hosting.publishing import Bounds, Publishing
from proxy.registry.hosting.removing import Removing
from proxy.registry.hosting.signatures import Signatures
from proxy.registry.hosting.starring import Starring
from proxy.registry.hosting.tags import Tags
from proxy.registry.hot import Hot
from proxy.registry.merged import Merged
from proxy.registry.mirroring.ahead import Ahead
from proxy.registry.mirroring.ahead import Limits as AheadLimits
from proxy.registry.mirroring.audits import Audits
from proxy.registry.mirroring.documents import Documents
from proxy.registry.mirroring.downloads import Downloads
from proxy.registry.mirroring.hashing import Hashing
from proxy.registry.mirroring.mirror import Mirror
from proxy.registry.mirroring.missing import MissingNotes
from proxy.registry.mirroring.narrowing import Narrowing
from proxy.registry.mirroring.packuments import Packuments
from proxy.registry.mirroring.relay import Relay
from proxy.registry.mirroring.switchboard import Switchboard
from proxy.registry.mirroring.tarballs import Tarballs
from proxy.registry.offline.switching import Switches, Switching
from proxy.registry.people.access import PackageAccess
from proxy.registry.people.accounts import Accounts
from proxy.registry.people.callers import Callers
from proxy.registry.people.limits import Limits, PasswordCheck
from proxy.registry.people.logins import Logins
from proxy.registry.people.own_tokens import OwnTokens
from proxy.registry.people.permissions import Permissions
from proxy.registry.people.profiles import Profiles
from proxy.registry.people.second_factor import SecondFactor
from proxy.registry.people.teams import Teams
from proxy.registry.people.tidying import Tidying
from proxy.registry.people.tokens import Lives, Tokens
from proxy.registry.reading import Reading
from proxy.registry.routing import Routing
from proxy.registry.searching import Searching
from proxy.storage.passwords import Passwords
from proxy.web.metrics import Metrics

# A tarball up to this size is kept in memory: half of npm's are smaller than 20 KiB.
_SMALL_TARBALL_BYTES = 128 * 1024
# Of the memory for replies three quarters are for what is mirrored, half packuments and half
# tarballs, the rest for what is hosted; no single one takes more than a sixteenth of its share.
_LARGEST_SHARE = 16
# What is fetched ahead and not asked for yet is a small part of the cache.
AHEAD_BYTES = 256 * 1024 * 1024
# How long it takes at most until a worker knows which names another one has published.
_RECHECK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """Puts other rules in force, and forgets the replies that were finished under the old ones."""

    routing: Routing
    finished: Sequence[Hot[Any]]

    def replace(self, rules: Rules) -> None:
        """From the next question on, nothing is sent of a name that lives elsewhere now."""
        self.routing.replace(rules)
        for hot in self.finished:
            hot.clear()

    def claimed(self) -> Sequence[str]:
        """The patterns of the names that live here by rule."""
        return self.routing.claimed


@dataclass(frozen=True, slots=True)
class Mirroring:
    """What is copied from uplinks."""

    mirrors: Mapping[str, Mirror]
    routing: Routing
    rules: RulesInForce
    packuments: Packuments
    tarballs: Tarballs
    downloads: Downloads
    ahead: Ahead
    relay: Relay
    documents: Documents
    audits: Audits
    switchboard: Switchboard
    missing: MissingNotes

    @classmethod
    def of(
        cls,
        config: Config,
        storage: Storage,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> Mirroring:
        """The stories of this configuration; nothing is asked or opened yet."""
        switchboard = Switchboard(kept=storage.offline)
        missing = MissingNotes(kept=storage.offline, clock=clock)
        downloads = Downloads(
            index=storage.index, blobs=storage.blobs, leases=storage.leases, clock=clock
        )
        mirrors = {
            each.name: Mirror(
                uplink=uplink,
                index=storage.index,
                press=storage.press,
                leases=storage.leases,
                hashing=Hashing(
                    uplink=uplink,
                    index=storage.index,
                    blobs=storage.blobs,
                    downloads=downloads,
                    has_room=storage.upkeep.has_room,
                ),
                ages=uplinks.ages(config, each),
                clock=clock,
                monotonic=monotonic,
            )
            for each in config.uplinks
            for uplink in [
                uplinks.uplink(each, config, metrics, switchboard, clock=clock, monotonic=monotonic)
            ]
        }
        documents = Documents(
            index=storage.index,
            blobs=storage.blobs,
            uplinks={name: mirror.uplink for name, mirror in mirrors.items()},
            clock=clock,
        )
        routing = Routing(
            rules=config.rules,
            mirrors=mirrors,
            published=storage.hosted,
            recheck=_RECHECK,
            monotonic=monotonic,
        )
        bases = Bases(monotonic=monotonic)
        share_bytes = config.cache.memory_bytes * 3 // 8
        kept_packuments = Hot[Finished](
            log=storage.index, limit_bytes=share_bytes, largest_bytes=share_bytes // _LARGEST_SHARE
        )
        kept_tarballs = Hot[Held](
            log=storage.index, limit_bytes=share_bytes, largest_bytes=_SMALL_TARBALL_BYTES
        )
        return cls(
            mirrors=mirrors,
            routing=routing,
            rules=RulesInForce(routing, (kept_packuments, kept_tarballs)),
            packuments=Packuments(
                routing=routing,
                press=storage.press,
                cache=storage.cache,
                hot=kept_packuments,
                bases=bases,
                narrowing=Narrowing(
                    index=storage.index,
                    press=storage.press,
                    hot=kept_packuments,
                    bases=bases,
                    missing=missing,
                ),
                clock=clock,
            ),
            tarballs=Tarballs(
                routing=routing,
                index=storage.index,
                blobs=storage.blobs,
                press=storage.press,
                downloads=downloads,
                hot=kept_tarballs,
                upkeep=storage.upkeep,
                missing=missing,
                small_bytes=min(_SMALL_TARBALL_BYTES, share_bytes),
                clock=clock,
            ),
            downloads=downloads,
            ahead=Ahead(
                limits=_ahead(config),
                routing=routing,
                index=storage.index,
                press=storage.press,
                downloads=downloads,
                has_room=storage.upkeep.has_room,
                monotonic=monotonic,
                on_outcome=metrics.ahead,
            ),
            relay=Relay(routing=routing, documents=documents, monotonic=monotonic),
            documents=documents,
            audits=Audits(routing=routing),
            switchboard=switchboard,
            missing=missing,
        )

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the uplinks; the stack ends what is under way, then closes them."""
        for mirror in self.mirrors.values():
            await stack.enter_async_context(mirror.uplink)
        stack.push_async_callback(self.missing.close)
        for close in (self.packuments.close, self.relay.close, self.downloads.close):
            stack.push_async_callback(close)
        for mirror in self.mirrors.values():
            stack.push_async_callback(mirror.close)
        stack.push_async_callback(self.ahead.close)

    def states(self) -> dict[str, str]:
        """What the breaker of each uplink says."""
        return {name: mirror.uplink.state for name, mirror in self.mirrors.items()}


@dataclass(frozen=True, slots=True)
class Hosting:
    """What lives here: packages, people, and who may do what."""

    callers: Callers
    permissions: Permissions
    access: PackageAccess
    teams: Teams
    reading: Reading
    changing: Changing
    tags: Tags
    owning: Owning
    starring: Starring
    publishing: Publishing
    signatures: Signatures
    published: Published
    searching: Searching
    logins: Logins
    accounts: Accounts
    own_tokens: OwnTokens
    profiles: Profiles
    tidying: Tidying
    switching: Switching

    @classmethod
    def of(
        cls,
        config: Config,
        storage: Storage,
        mirroring: Mirroring,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> Hosting:
        """The stories of hosted packages; nothing is opened yet."""
        share_bytes = config.cache.memory_bytes // 4
        limits = Limits(people=storage.people, clock=clock)
        hashes = Passwords()
        passwords = PasswordCheck(people=storage.people, passwords=hashes, limits=limits)
        second_factor = SecondFactor(people=storage.people, limits=limits, clock=clock)
        tokens = Tokens(
            people=storage.people,
            lives=Lives(login=config.auth.login_age, token=config.auth.token_age),
            clock=clock,
        )
        permissions = Permissions(
            routing=mirroring.routing,
            hosted=storage.hosted,
            people=storage.people,
            second_factor=second_factor,
        )
        signatures = Signatures(
            keyring=storage.keyring, relay=mirroring.relay, routing=mirroring.routing
        )
        access = PackageAccess(
            permissions=permissions, hosted=storage.hosted, people=storage.people, clock=clock
        )
        changing = Changing(
            permissions=permissions,
            routing=mirroring.routing,
            hosted=storage.hosted,
            people=storage.people,
            removing=Removing(window=config.hosting.unpublish, clock=clock),
            clock=clock,
        )
        published = Published(
            hosted=storage.hosted,
            people=storage.people,
            blobs=storage.hosted_blobs,
            hot=Hot[Document](
                log=storage.hosted,
                limit_bytes=share_bytes * 3 // 4,
                largest_bytes=share_bytes // _LARGEST_SHARE,
            ),
            bases=Bases(monotonic=monotonic),
        )
        merged = Merged(
            packuments=mirroring.packuments,
            tarballs=mirroring.tarballs,
            relay=mirroring.relay,
            published=published,
            hosted=storage.hosted,
            cache=storage.cache,
            hot=Hot[bytes](
                log=storage.hosted,
                limit_bytes=share_bytes // 4,
                largest_bytes=share_bytes // _LARGEST_SHARE,
            ),
            bases=Bases(monotonic=monotonic),
        )
        callers = Callers(
            people=storage.people,
            passwords=passwords,
            limits=limits,
            admins=config.auth.admins,
            clock=clock,
        )
        accounts = Accounts(
            people=storage.people,
            passwords=passwords,
            hashes=hashes,
            second_factor=second_factor,
            tokens=tokens,
            limits=limits,
            can_sign_up=config.auth.signup,
            is_reserved=lambda name: name in config.auth.admins or mirroring.routing.names(name),
            clock=clock,
        )
        return cls(
            callers=callers,
            accounts=accounts,
            own_tokens=OwnTokens(
                permissions=permissions, passwords=passwords, tokens=tokens, clock=clock
            ),
            profiles=Profiles(
                people=storage.people,
                permissions=permissions,
                passwords=passwords,
                hashes=hashes,
                second_factor=second_factor,
                clock=clock,
            ),
            switching=Switching(
                permissions=permissions,
                switches=Switches(
                    kept=storage.offline,
                    people=storage.people,
                    configured={
                        each.name: uplinks.is_offline(config, each) for each in config.uplinks
                    },
                ),
                clock=clock,
            ),
            tidying=Tidying(callers=callers, people=storage.people, clock=clock),
            permissions=permissions,
            access=access,
            teams=Teams(permissions=permissions, access=access, people=storage.people, clock=clock),
            reading=Reading(
                permissions=permissions,
                packuments=mirroring.packuments,
                tarballs=mirroring.tarballs,
                ahead=mirroring.ahead,
                relay=mirroring.relay,
                published=published,
                merged=merged,
            ),
            changing=changing,
            tags=Tags(permissions=permissions, hosted=storage.hosted, clock=clock),
            owning=Owning(
                permissions=permissions, hosted=storage.hosted, people=storage.people, clock=clock
            ),
            starring=Starring(permissions=permissions, hosted=storage.hosted, clock=clock),
            publishing=Publishing(
                permissions=permissions,
                hosted=storage.hosted,
                people=storage.people,
                blobs=storage.hosted_blobs,
                leases=storage.leases,
                changing=changing,
                signer=signatures,
                bounds=Bounds(
                    tarball_bytes=config.server.max_publish_size_bytes,
                    # A cache that has filled the disk stands at its floor: below it there is
                    # still room to publish, until upkeep has evicted something.
                    min_free_bytes=config.cache.min_free_bytes // 2,
                ),
                clock=clock,
            ),
            signatures=signatures,
            published=published,
            searching=Searching(
                permissions=permissions,
                hosted=storage.hosted,
                people=storage.people,
                relay=mirroring.relay,
                clock=clock,
            ),
            logins=Logins(
                people=storage.people,
                passwords=passwords,
                second_factor=second_factor,
                tokens=tokens,
                accounts=accounts if config.auth.signup else None,
                limits=limits,
                clock=clock,
            ),
        )

    def warnings(self) -> dict[str, str]:
        """What somebody has to see to, though requests are answered. It names no package."""
        damaged = self.published.damaged
        if not damaged:
            return {}
        return {"hosted": f"{damaged} published tarballs are damaged; the log names them"}


def _ahead(config: Config) -> AheadLimits | None:
    if not config.cache.ahead:
        return None
    # What is never fresh would be asked for again when the client comes.
    kept = (each for each in config.uplinks if uplinks.ages(config, each).max_age)
    return AheadLimits(
        at_once={each.name: max(1, each.concurrency // 4) for each in kept},
        unclaimed_bytes=min(AHEAD_BYTES, config.cache.max_size_bytes // 16),
        remembered=config.cache.max_age,
    )
