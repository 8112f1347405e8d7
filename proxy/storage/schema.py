"""The SQL of the SQLite index: tables, running totals, and how an older file becomes newer.

`MIGRATIONS[n]` brings a file from schema n to n + 1; `PRAGMA user_version` says which it has.
Migrations only add, so that an older process can go on with a file that a newer one has opened.
Instants are integer microseconds since 1970.
"""

from __future__ import annotations

from proxy.storage import changes

_TABLES = """
CREATE TABLE packuments (
    uplink TEXT NOT NULL, name TEXT NOT NULL, form TEXT NOT NULL, body_form TEXT NOT NULL,
    digest TEXT NOT NULL, revision TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    etag TEXT, last_modified TEXT,
    modified_at INTEGER NOT NULL, fetched_at INTEGER NOT NULL, checked_at INTEGER NOT NULL,
    missing_since INTEGER,
    PRIMARY KEY (name, uplink, form)
) WITHOUT ROWID;
CREATE INDEX packuments_by_digest ON packuments (digest);

CREATE TABLE tarballs (
    uplink TEXT NOT NULL, name TEXT NOT NULL, file TEXT NOT NULL, version TEXT NOT NULL,
    digest TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    stored_at INTEGER NOT NULL, used_at INTEGER NOT NULL,
    PRIMARY KEY (name, file)
) WITHOUT ROWID;
CREATE INDEX tarballs_by_digest ON tarballs (digest);
CREATE INDEX tarballs_by_use ON tarballs (used_at);

CREATE TABLE totals (kind TEXT PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL)
WITHOUT ROWID;
INSERT INTO totals VALUES ('packuments', 0, 0), ('tarballs', 0, 0);
"""

# Totals are kept by triggers, so that no way of writing can forget them. A digest counts when its
# first row comes and when its last row goes; LIMIT 2 keeps that cheap for a digest that a thousand
# rows share.
_TOTALS = """
CREATE TRIGGER {kind}_added AFTER INSERT ON {kind} BEGIN
    UPDATE totals SET entries = entries + 1, bytes = bytes + CASE
        (SELECT count(*) FROM (SELECT 1 FROM {kind} WHERE digest = NEW.digest LIMIT 2))
        WHEN 1 THEN NEW.size_bytes ELSE 0 END WHERE kind = '{kind}';
END;
CREATE TRIGGER {kind}_removed AFTER DELETE ON {kind} BEGIN
    UPDATE totals SET entries = entries - 1, bytes = bytes - CASE
        WHEN EXISTS (SELECT 1 FROM {kind} WHERE digest = OLD.digest)
        THEN 0 ELSE OLD.size_bytes END WHERE kind = '{kind}';
END;
CREATE TRIGGER {kind}_replaced AFTER UPDATE OF digest ON {kind} WHEN OLD.digest <> NEW.digest BEGIN
    UPDATE totals SET bytes = bytes - CASE
        WHEN EXISTS (SELECT 1 FROM {kind} WHERE digest = OLD.digest)
        THEN 0 ELSE OLD.size_bytes END + CASE
        (SELECT count(*) FROM (SELECT 1 FROM {kind} WHERE digest = NEW.digest LIMIT 2))
        WHEN 1 THEN NEW.size_bytes ELSE 0 END WHERE kind = '{kind}';
END;
"""

# `switches`: the uplinks that are not asked ('*' is all of them). `missing`: what was asked for
# while its uplink was not to be had; version '' is a package of which nothing is held.
_OFFLINE = """
CREATE TABLE switches (
    uplink TEXT PRIMARY KEY, switched_at INTEGER NOT NULL, switched_by TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE missing (
    name TEXT NOT NULL, version TEXT NOT NULL, times INTEGER NOT NULL, asked_at INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) WITHOUT ROWID;
CREATE INDEX missing_by_time ON missing (asked_at);
"""

# What was carried here in bundles, and what an uplink said besides packuments and tarballs.
_BUNDLES = """
CREATE TABLE documents (
    uplink TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    fetched_at INTEGER NOT NULL, PRIMARY KEY (uplink, path)
) WITHOUT ROWID;
CREATE INDEX documents_by_digest ON documents (digest);
CREATE TABLE imports (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, bundle TEXT NOT NULL UNIQUE, imported_at INTEGER NOT NULL
);
"""

# What came first of tarballs that nothing but a SHA-1 vouches for; it outlives the tarballs.
_FIRSTS = """
CREATE TABLE firsts (
    uplink TEXT NOT NULL, name TEXT NOT NULL, file TEXT NOT NULL, shasum TEXT NOT NULL,
    digest TEXT NOT NULL, PRIMARY KEY (name, file, uplink, shasum)
) WITHOUT ROWID;
"""

# What became of the last run of each mirror rule; until `handled_at` nothing is due any more.
_MIRROR_RUNS = """
CREATE TABLE mirror_runs (
    rule TEXT PRIMARY KEY, handled_at INTEGER NOT NULL, began_at INTEGER, ended_at INTEGER,
    result TEXT NOT NULL
) WITHOUT ROWID;
"""

MIGRATIONS: tuple[str, ...] = (
    _TABLES + changes.TABLES + _TOTALS.format(kind="packuments") + _TOTALS.format(kind="tarballs"),
    _BUNDLES,
    _OFFLINE,
    _FIRSTS,
    _MIRROR_RUNS,
)

PUT_PACKUMENT = """
INSERT INTO packuments (uplink, name, form, body_form, digest, revision, size_bytes, etag,
    last_modified, modified_at, fetched_at, checked_at, missing_since)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name, uplink, form) DO UPDATE SET body_form = excluded.body_form,
    digest = excluded.digest, revision = excluded.revision, size_bytes = excluded.size_bytes,
    etag = excluded.etag, last_modified = excluded.last_modified,
    modified_at = excluded.modified_at, fetched_at = excluded.fetched_at,
    checked_at = excluded.checked_at, missing_since = excluded.missing_since
"""
GET_PACKUMENT = """
SELECT uplink, name, form, body_form, digest, revision, size_bytes, etag, last_modified,
    modified_at, fetched_at, checked_at, missing_since
FROM packuments WHERE name = ? AND uplink = ? AND form = ?
"""
REVISION_OF = "SELECT revision FROM packuments WHERE name = ? AND uplink = ? AND form = ?"
DIGESTS_OF = (
    "SELECT DISTINCT digest FROM packuments WHERE name = ?1 AND uplink = ifnull(?2, uplink)"
)
DROP_PACKUMENTS = "DELETE FROM packuments WHERE name = ?1 AND uplink = ifnull(?2, uplink)"

PUT_TARBALL = """
INSERT INTO tarballs (uplink, name, file, version, digest, size_bytes, stored_at, used_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name, file) DO UPDATE SET uplink = excluded.uplink, version = excluded.version,
    digest = excluded.digest, size_bytes = excluded.size_bytes,
    stored_at = excluded.stored_at, used_at = excluded.used_at
"""
_TARBALL = (
    "SELECT uplink, name, file, version, digest, size_bytes, stored_at, used_at FROM tarballs "
)
NOTE_FIRST = """
INSERT INTO firsts (uplink, name, file, shasum, digest) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name, file, uplink, shasum) DO NOTHING
"""
GET_FIRST = "SELECT digest FROM firsts WHERE uplink = ? AND name = ? AND file = ? AND shasum = ?"
GET_TARBALL = _TARBALL + "WHERE name = ? AND file = ?"
TARBALLS_OF = _TARBALL + "WHERE name = ? ORDER BY file"
LEAST_RECENTLY_USED = _TARBALL + "ORDER BY used_at LIMIT ?"
DROP_TARBALL = "DELETE FROM tarballs WHERE name = ? AND file = ? RETURNING digest"
MARK_USED = "UPDATE tarballs SET used_at = max(used_at, ?) WHERE name = ? AND file = ?"

IS_REFERENCED = """
SELECT EXISTS (SELECT 1 FROM tarballs WHERE digest = ?1)
    OR EXISTS (SELECT 1 FROM packuments WHERE digest = ?1)
    OR EXISTS (SELECT 1 FROM documents WHERE digest = ?1)
"""
PUT_DOCUMENT = """
INSERT INTO documents (uplink, path, digest, size_bytes, fetched_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (uplink, path) DO UPDATE SET digest = excluded.digest,
    size_bytes = excluded.size_bytes, fetched_at = excluded.fetched_at
"""
GET_DOCUMENT = """
SELECT uplink, path, digest, size_bytes, fetched_at FROM documents WHERE uplink = ? AND path = ?
"""
IMPORTED = "SELECT bundle FROM imports ORDER BY seq"
NOTE_IMPORT = """
INSERT INTO imports (bundle, imported_at) VALUES (?, ?) ON CONFLICT (bundle) DO NOTHING
"""
NAMES = """
SELECT name FROM packuments WHERE name >= ?1 AND name < ?2
UNION SELECT name FROM tarballs WHERE name >= ?1 AND name < ?2 ORDER BY name
"""
TOTALS = "SELECT entries, bytes FROM totals ORDER BY kind"

SWITCHES = "SELECT uplink, switched_at, switched_by FROM switches ORDER BY uplink"
SWITCH_ON = "INSERT INTO switches VALUES (?, ?, ?) ON CONFLICT (uplink) DO NOTHING RETURNING uplink"
SWITCH_OFF = "DELETE FROM switches WHERE uplink = ifnull(?, uplink) RETURNING uplink"

MISSING = "SELECT name, version, times, asked_at FROM missing ORDER BY name, version"
NOTE_MISSING = """
INSERT INTO missing VALUES (?, ?, ?, ?) ON CONFLICT (name, version) DO UPDATE SET
    times = times + excluded.times, asked_at = max(asked_at, excluded.asked_at)
"""
# The row that was asked for longest ago goes first.
TRIM_MISSING = """
DELETE FROM missing WHERE asked_at <
    (SELECT asked_at FROM missing ORDER BY asked_at DESC LIMIT 1 OFFSET ?)
"""
CLEAR_MISSING = "DELETE FROM missing"

MIRROR_RUN = "SELECT rule, handled_at, began_at, ended_at, result FROM mirror_runs WHERE rule = ?"
PUT_MIRROR_RUN = """
INSERT INTO mirror_runs VALUES (?, ?, ?, ?, ?) ON CONFLICT (rule) DO UPDATE SET
    handled_at = excluded.handled_at, began_at = excluded.began_at,
    ended_at = excluded.ended_at, result = excluded.result
"""
