"""Floor 3: the stories. asyncio, but no files, SQL or sockets of its own."""
