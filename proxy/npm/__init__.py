"""Floor 1: npm's rules. Values in, values out: no sockets, files, clocks or settings."""
