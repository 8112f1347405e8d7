"""The SQL of what lives here: hosted packages and the audit log.

The tables of people are in people_schema.py; both are in one file, so that one transaction can
write a package and its audit row. `MIGRATIONS[n]` brings a file from schema n to n + 1, and only
adds. Instants are integer microseconds since 1970; lists are JSON arrays.
"""

from __future__ import annotations

from proxy.storage import changes, people_schema

# A removed version keeps its row, without its content: what was published once is never published
# again. `precedence` is the version without its build metadata, which names no other version.
# `versions.id` is the order of publishing. The wide columns come last, so that a look at the others
# does not read through them.
_PACKAGES = """
CREATE TABLE packages (
    name TEXT PRIMARY KEY, counter INTEGER NOT NULL, revision TEXT NOT NULL, access TEXT NOT NULL,
    created_at INTEGER NOT NULL, modified_at INTEGER NOT NULL, unpublished_at INTEGER,
    volume_bytes INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL REFERENCES packages (name), version TEXT NOT NULL, precedence TEXT NOT NULL,
    file TEXT NOT NULL, digest TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    integrity TEXT NOT NULL, shasum TEXT NOT NULL,
    published_at INTEGER NOT NULL, published_by TEXT NOT NULL, removed_at INTEGER,
    deprecated TEXT, readme_filename TEXT, description TEXT NOT NULL, keywords TEXT NOT NULL,
    excerpt BLOB NOT NULL, manifest BLOB NOT NULL, readme TEXT, attestations BLOB
);
CREATE UNIQUE INDEX versions_by_version ON versions (name, version);
CREATE UNIQUE INDEX versions_by_precedence ON versions (name, precedence);
CREATE UNIQUE INDEX versions_by_file ON versions (name, file);
CREATE INDEX versions_by_digest ON versions (digest) WHERE removed_at IS NULL;

CREATE TABLE tags (
    name TEXT NOT NULL REFERENCES packages (name), tag TEXT NOT NULL, version TEXT NOT NULL,
    PRIMARY KEY (name, tag)
) WITHOUT ROWID;

CREATE TABLE owners (
    name TEXT NOT NULL REFERENCES packages (name), user TEXT NOT NULL, place INTEGER NOT NULL,
    PRIMARY KEY (name, user)
) WITHOUT ROWID;
CREATE INDEX owners_by_user ON owners (user);

CREATE TABLE stars (
    name TEXT NOT NULL REFERENCES packages (name), user TEXT NOT NULL, PRIMARY KEY (name, user)
) WITHOUT ROWID;
CREATE INDEX stars_by_user ON stars (user);

CREATE TABLE search (
    name TEXT PRIMARY KEY REFERENCES packages (name), version TEXT NOT NULL,
    description TEXT NOT NULL, keywords TEXT NOT NULL, excerpt BLOB NOT NULL,
    published_at INTEGER NOT NULL, published_by TEXT NOT NULL
) WITHOUT ROWID;
"""

_AUDIT = """
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, user TEXT NOT NULL,
    client_ip TEXT, token_key TEXT, action TEXT NOT NULL, subject TEXT NOT NULL, facts BLOB NOT NULL
);
CREATE INDEX audit_by_user ON audit (user);
CREATE INDEX audit_by_subject ON audit (subject);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit rows are only appended');
END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit rows are only appended');
END;
"""

MIGRATIONS: tuple[str, ...] = (changes.TABLES + _PACKAGES + _AUDIT + people_schema.TABLES,)

# --- reading ---

HEAD = """
SELECT revision, access, created_at, modified_at, unpublished_at, volume_bytes
FROM packages WHERE name = ?
"""
VERSIONS = """
SELECT version, manifest, file, digest, size_bytes, integrity, shasum, published_at, published_by,
    deprecated, attestations IS NOT NULL
FROM versions WHERE name = ? AND removed_at IS NULL ORDER BY id
"""
TAGS = "SELECT tag, version FROM tags WHERE name = ? ORDER BY tag"
OWNERS = "SELECT user FROM owners WHERE name = ? ORDER BY place"
STARS = "SELECT user FROM stars WHERE name = ? ORDER BY user"
README = """
SELECT readme, readme_filename FROM tags JOIN versions USING (name, version)
WHERE name = ? AND tag = 'latest'
"""
TAKEN = """
SELECT version, digest, published_by, published_at, removed_at
FROM versions WHERE name = ? AND (precedence = ? OR file = ?)
"""
IS_TAKEN = "SELECT 1 FROM versions WHERE name = ? AND precedence = ?"
LIVE = "SELECT version FROM versions WHERE name = ? AND removed_at IS NULL ORDER BY id"
TARBALL = """
SELECT name, file, version, digest, size_bytes
FROM versions WHERE name = ? AND file = ? AND removed_at IS NULL
"""
ATTESTATIONS = "SELECT attestations FROM versions WHERE name = ? AND version = ?"
OWNED = "SELECT name FROM packages"
NAMES = """
SELECT name FROM packages WHERE name >= ? AND name < ? AND unpublished_at IS NULL ORDER BY name
"""
SEARCH = """
SELECT name, version, description, keywords, excerpt, published_at, published_by,
    (SELECT json_group_array(user ORDER BY place) FROM owners WHERE owners.name = search.name),
    access
FROM search JOIN packages USING (name) ORDER BY name
"""
OWNED_BY = """
SELECT name FROM owners JOIN packages USING (name)
WHERE user = ? AND unpublished_at IS NULL ORDER BY name
"""
STARRED_BY = """
SELECT name FROM stars JOIN packages USING (name)
WHERE user = ? AND unpublished_at IS NULL ORDER BY name
"""
IS_REFERENCED = "SELECT 1 FROM versions WHERE digest = ? AND removed_at IS NULL"

# --- writing ---

ADD_PACKAGE = """
INSERT INTO packages (name, counter, revision, access, created_at, modified_at, volume_bytes)
VALUES (?1, 0, '', ?2, ?3, ?3, 0)
"""
ADD_VERSION = """
INSERT INTO versions (name, version, precedence, file, digest, size_bytes, integrity, shasum,
    published_at, published_by, readme_filename, description, keywords, excerpt, manifest, readme,
    attestations)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
REMOVE_VERSION = """
UPDATE versions SET removed_at = ?3, deprecated = NULL, readme_filename = NULL, description = '',
    keywords = '[]', excerpt = x'', manifest = x'', readme = NULL, attestations = NULL
WHERE name = ?1 AND version = ?2 AND removed_at IS NULL
"""
DEPRECATE = "UPDATE versions SET deprecated = ?3 WHERE name = ?1 AND version = ?2"
SET_README = """
UPDATE versions SET readme = ?2
WHERE name = ?1 AND version = (SELECT version FROM tags WHERE name = ?1 AND tag = 'latest')
"""
SET_TAG = """
INSERT INTO tags (name, tag, version) VALUES (?, ?, ?)
ON CONFLICT (name, tag) DO UPDATE SET version = excluded.version
"""
ADD_TAG = "INSERT OR IGNORE INTO tags (name, tag, version) VALUES (?, ?, ?)"
DROP_TAG = "DELETE FROM tags WHERE name = ? AND tag = ?"
DROP_LOOSE_TAGS = """
DELETE FROM tags WHERE name = ?1 AND version NOT IN
    (SELECT version FROM versions WHERE name = ?1 AND removed_at IS NULL)
"""
DROP_OWNERS = "DELETE FROM owners WHERE name = ?"
ADD_OWNER = "INSERT OR IGNORE INTO owners (name, user, place) VALUES (?, ?, ?)"
ADD_STAR = "INSERT OR IGNORE INTO stars (name, user) VALUES (?, ?)"
DROP_STAR = "DELETE FROM stars WHERE name = ? AND user = ?"
DROP_STARS = "DELETE FROM stars WHERE name = ?"
# How much `VERSIONS` would read.
GROW = "UPDATE packages SET volume_bytes = volume_bytes + ?2 WHERE name = ?1"
MEASURE = """
UPDATE packages SET volume_bytes =
    (SELECT ifnull(sum(length(manifest)), 0) FROM versions WHERE name = ?1)
WHERE name = ?1
"""
SET_ACCESS = "UPDATE packages SET access = ?2 WHERE name = ?1"
SET_UNPUBLISHED = "UPDATE packages SET unpublished_at = ?2 WHERE name = ?1"

# What follows from the other tables, brought up to date after every write of a package.
SETTLE = """
UPDATE packages SET counter = counter + 1, revision = (counter + 1) || '-' || ?2, modified_at = ?3
WHERE name = ?1 RETURNING revision
"""
DROP_SEARCH = "DELETE FROM search WHERE name = ?"
ADD_SEARCH = """
INSERT INTO search (name, version, description, keywords, excerpt, published_at, published_by)
SELECT name, version, description, keywords, excerpt, published_at, published_by
FROM tags JOIN versions USING (name, version) WHERE name = ? AND tag = 'latest'
"""

# --- the audit log ---

ADD_AUDIT = """
INSERT INTO audit (at, user, client_ip, token_key, action, subject, facts)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
NEWEST = "SELECT number, at FROM audit ORDER BY number DESC LIMIT 1"
GET_AUDIT = """
SELECT number, at, user, client_ip, token_key, action, subject, facts FROM audit WHERE {wanted}
ORDER BY number DESC LIMIT ?
"""
