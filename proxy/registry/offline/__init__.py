"""What makes builds work without an uplink: packages brought here before, and carried across."""
