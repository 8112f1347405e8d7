"""The SQL of the change log and of the self-check, which every database here has.

The sequence starts at the time of creation and not at 1: a file that was thrown away and made anew
then never repeats a number that somebody remembers, and whoever remembers one is told that
everything has changed.
"""

from __future__ import annotations

TABLES = """
CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);
INSERT INTO sqlite_sequence (name, seq)
VALUES ('changes', CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 + abs(random() % 1000));
CREATE TRIGGER changes_trimmed AFTER INSERT ON changes BEGIN
    DELETE FROM changes WHERE seq <= NEW.seq - 10000;
END;
CREATE TABLE checks (id INTEGER PRIMARY KEY CHECK (id = 1), checked_at INTEGER NOT NULL);
"""

LOG_CHANGE = "INSERT INTO changes (name) VALUES (?)"
# One statement, so that its three questions see the same moment: the latest number, the oldest
# kept, the names after ?.
CHANGES = """
SELECT 0, seq, NULL FROM sqlite_sequence WHERE name = 'changes'
UNION ALL SELECT 1, min(seq), NULL FROM changes
UNION ALL SELECT DISTINCT 2, NULL, name FROM changes WHERE seq > ?
ORDER BY 1
"""
CHECK = """
INSERT INTO checks VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at
"""
CHECKED = "SELECT checked_at FROM checks"
