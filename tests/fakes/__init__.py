"""Real servers and real stores, small enough to be scripted by a test."""
