"""Everything that judges Packhouse, and the fakes it judges with."""
