"""The SQL of people: users, organisations and teams, grants, tokens, logins, failures.

Instants are integer microseconds since 1970; lists and maps are JSON.
"""

from __future__ import annotations

# `folded` is the name without its case: `Ann` and `ann` would be taken for one another.
_USERS = """
CREATE TABLE users (
    name TEXT PRIMARY KEY, folded TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    email TEXT, password_hash TEXT, is_disabled INTEGER NOT NULL,
    totp_secret TEXT, totp_mode TEXT, totp_step INTEGER NOT NULL DEFAULT -1,
    recovery_hashes TEXT NOT NULL, profile TEXT NOT NULL, totp_asked TEXT
) WITHOUT ROWID;
"""

_TEAMS = """
CREATE TABLE members (
    org TEXT NOT NULL, user TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (org, user)
) WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user);

CREATE TABLE teams (
    org TEXT NOT NULL, team TEXT NOT NULL, description TEXT NOT NULL, PRIMARY KEY (org, team)
) WITHOUT ROWID;

CREATE TABLE team_members (
    org TEXT NOT NULL, team TEXT NOT NULL, user TEXT NOT NULL,
    PRIMARY KEY (org, team, user),
    FOREIGN KEY (org, team) REFERENCES teams (org, team) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX team_members_by_user ON team_members (user);

CREATE TABLE grants (
    org TEXT NOT NULL, team TEXT NOT NULL, package TEXT NOT NULL, permission TEXT NOT NULL,
    PRIMARY KEY (org, team, package),
    FOREIGN KEY (org, team) REFERENCES teams (org, team) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX grants_by_package ON grants (package);

CREATE TABLE collaborators (
    package TEXT NOT NULL, user TEXT NOT NULL, permission TEXT NOT NULL,
    PRIMARY KEY (package, user)
) WITHOUT ROWID;
CREATE INDEX collaborators_by_user ON collaborators (user);

CREATE VIEW permissions (user, package, permission) AS
SELECT user, package, permission FROM collaborators
UNION ALL SELECT user, package, permission FROM team_members JOIN grants USING (org, team);
"""

_TOKENS = """
CREATE TABLE tokens (
    hash TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, user TEXT NOT NULL REFERENCES users (name),
    kind TEXT NOT NULL, shown TEXT NOT NULL, created_at INTEGER NOT NULL,
    name TEXT, description TEXT, is_readonly INTEGER NOT NULL, is_otp_exempt INTEGER NOT NULL,
    packages TEXT NOT NULL, scopes TEXT NOT NULL, cidrs TEXT NOT NULL,
    expires_at INTEGER, used_at INTEGER
) WITHOUT ROWID;
CREATE INDEX tokens_by_user ON tokens (user);
CREATE INDEX tokens_by_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE sessions (
    id_hash TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, state TEXT NOT NULL,
    user TEXT, handover BLOB, facts BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE failures (
    key TEXT NOT NULL, minute INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (key, minute)
) WITHOUT ROWID;
CREATE INDEX failures_by_minute ON failures (minute);
"""

TABLES = _USERS + _TEAMS + _TOKENS

# --- users ---

USER_COLUMNS = (
    "users.name, users.created_at, users.updated_at, email, password_hash, is_disabled,"
    " totp_secret, totp_mode, recovery_hashes, profile, totp_asked"
)
GET_USER = f"SELECT {USER_COLUMNS} FROM users WHERE name = ?"
USERS = f"SELECT {USER_COLUMNS} FROM users ORDER BY name"
IS_USER = "SELECT 1 FROM users WHERE name = ?"
IS_NAME_TAKEN = "SELECT 1 FROM users WHERE folded = ?"
ADD_USER = """
INSERT INTO users (name, folded, created_at, updated_at, email, password_hash, is_disabled,
    totp_secret, totp_mode, recovery_hashes, profile, totp_asked)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
SET_PASSWORD = "UPDATE users SET password_hash = ?3, updated_at = ?2 WHERE name = ?1"
RENEW_HASH = "UPDATE users SET password_hash = ?3 WHERE name = ?1 AND password_hash = ?2"
SET_PROFILE = "UPDATE users SET email = ?3, profile = ?4, updated_at = ?2 WHERE name = ?1"
SET_DISABLED = "UPDATE users SET is_disabled = ?3, updated_at = ?2 WHERE name = ?1"
SET_TOTP = """
UPDATE users SET totp_secret = ?3, totp_mode = ?4, recovery_hashes = ?5, totp_asked = ?6,
    updated_at = ?2,
    totp_step = CASE WHEN totp_secret IS ?3 THEN totp_step ELSE -1 END
WHERE name = ?1
"""
SPEND_TOTP = "UPDATE users SET totp_step = ?2 WHERE name = ?1 AND totp_step < ?2 RETURNING name"
RECOVERY = "SELECT recovery_hashes FROM users WHERE name = ?"
SET_RECOVERY = "UPDATE users SET recovery_hashes = ?2 WHERE name = ?1"

# --- organisations and teams ---

SET_MEMBER = """
INSERT INTO members (org, user, role) VALUES (?, ?, ?)
ON CONFLICT (org, user) DO UPDATE SET role = excluded.role
"""
DROP_MEMBER = "DELETE FROM members WHERE org = ? AND user = ?"
DROP_FROM_TEAMS = "DELETE FROM team_members WHERE org = ? AND user = ?"
MEMBERS = "SELECT user, role FROM members WHERE org = ? ORDER BY user"
ORGS_OF = "SELECT org, role FROM members WHERE user = ? ORDER BY org"
TEAMS_OF = "SELECT org, team FROM team_members WHERE user = ? ORDER BY org, team"
ORGS = "SELECT org, user, role FROM members ORDER BY org, user"
DROP_MEMBERS = "DELETE FROM members WHERE org = ? RETURNING user"
DROP_TEAMS = "DELETE FROM teams WHERE org = ? RETURNING team"
SET_TEAM = """
INSERT INTO teams (org, team, description) VALUES (?, ?, ?)
ON CONFLICT (org, team) DO UPDATE SET description = excluded.description
"""
DROP_TEAM = "DELETE FROM teams WHERE org = ? AND team = ?"
TEAMS = "SELECT org, team, description FROM teams WHERE org = ? ORDER BY team"
IS_TEAM = "SELECT 1 FROM teams WHERE org = ? AND team = ?"
ADD_TEAM_MEMBER = "INSERT OR IGNORE INTO team_members (org, team, user) VALUES (?, ?, ?)"
DROP_TEAM_MEMBER = "DELETE FROM team_members WHERE org = ? AND team = ? AND user = ?"
TEAM_MEMBERS = "SELECT user FROM team_members WHERE org = ? AND team = ? ORDER BY user"
SET_GRANT = """
INSERT INTO grants (org, team, package, permission) VALUES (?, ?, ?, ?)
ON CONFLICT (org, team, package) DO UPDATE SET permission = excluded.permission
"""
DROP_GRANT = "DELETE FROM grants WHERE org = ? AND team = ? AND package = ?"
GRANTS = "SELECT package, permission FROM grants WHERE org = ? AND team = ? ORDER BY package"
SET_COLLABORATOR = """
INSERT INTO collaborators (package, user, permission) VALUES (?, ?, ?)
ON CONFLICT (package, user) DO UPDATE SET permission = excluded.permission
"""
DROP_COLLABORATOR = "DELETE FROM collaborators WHERE package = ? AND user = ?"
# The stronger of two is the greater text: 'write' > 'read'.
COLLABORATORS = """
SELECT user, max(permission) FROM permissions WHERE package = ? GROUP BY user ORDER BY user
"""
PERMISSION_OF = "SELECT max(permission) FROM permissions WHERE user = ? AND package = ?"
PACKAGES_OF = """
SELECT package, max(permission) FROM permissions WHERE user = ? GROUP BY package ORDER BY package
"""

# --- tokens, logins, failures ---

TOKEN_COLUMNS = (
    "hash, key, user, kind, shown, tokens.created_at, tokens.name, description, is_readonly,"
    " is_otp_exempt, packages, scopes, cidrs, expires_at, used_at"
)
ADD_TOKEN = """
INSERT INTO tokens (hash, key, user, kind, shown, created_at, name, description, is_readonly,
    is_otp_exempt, packages, scopes, cidrs, expires_at, used_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
GET_TOKEN = (
    f"SELECT {TOKEN_COLUMNS}, {USER_COLUMNS}"
    " FROM tokens JOIN users ON users.name = user WHERE hash = ?"
)
TOKENS = f"SELECT {TOKEN_COLUMNS} FROM tokens WHERE user = ? ORDER BY created_at DESC, key"
DROP_TOKEN = "DELETE FROM tokens WHERE user = ?1 AND (key = ?2 OR hash = ?2) RETURNING key"
DROP_TOKENS = "DELETE FROM tokens WHERE user = ? RETURNING key"
DROP_LOGINS = """
DELETE FROM tokens WHERE user = ?1 AND kind <> 'granular' AND key IS NOT ?2 RETURNING key
"""
USED_AT = "SELECT used_at FROM tokens WHERE hash = ?"
MARK_TOKEN_USED = "UPDATE tokens SET used_at = max(ifnull(used_at, ?2), ?2) WHERE hash = ?1"
DROP_EXPIRED_TOKENS = "DELETE FROM tokens WHERE expires_at <= ? RETURNING 1"

ADD_SESSION = """
INSERT INTO sessions (id_hash, expires_at, state, user, handover, facts) VALUES (?, ?, ?, ?, ?, ?)
"""
GET_SESSION = """
SELECT id_hash, expires_at, state, user, handover, facts
FROM sessions WHERE id_hash = ? AND expires_at > ?
"""
END_SESSION = """
UPDATE sessions SET state = ?3, user = ?4, handover = ?5
WHERE id_hash = ?1 AND expires_at > ?2 AND state = 'pending' RETURNING 1
"""
TAKE_SESSION = """
DELETE FROM sessions WHERE id_hash = ? AND expires_at > ? AND state = 'granted'
RETURNING id_hash, expires_at, state, user, handover, facts
"""
DROP_GRANTED = "DELETE FROM sessions WHERE user = ? AND state = 'granted'"
DROP_EXPIRED_SESSIONS = "DELETE FROM sessions WHERE expires_at <= ? RETURNING 1"

ADD_FAILURE = """
INSERT INTO failures (key, minute, count) VALUES (?, ?, 1)
ON CONFLICT (key, minute) DO UPDATE SET count = count + 1
"""
FAILURES = "SELECT ifnull(sum(count), 0) FROM failures WHERE key = ? AND minute >= ?"
DROP_FAILURES = "DELETE FROM failures WHERE key = ?"
DROP_OLD_FAILURES = "DELETE FROM failures WHERE minute < ? RETURNING 1"
