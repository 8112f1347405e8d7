"""Floor 4: speaks HTTP to clients. A handler parses, calls one story, replies."""
