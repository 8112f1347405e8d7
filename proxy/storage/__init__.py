"""Floor 2: disk and database. Knows floor 1, not the uplinks."""
