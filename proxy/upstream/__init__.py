"""Floor 2: the network towards uplinks. Knows floor 1, not the storage."""
