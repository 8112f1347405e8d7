"""Floor 3: the stories. asyncio, but no files, SQL or sockets of its own.

Three folders keep to themselves what has one subject: `mirroring/` (what an uplink has), `hosting/`
(what is published here) and `people/` (who is calling, and what they may do). What joins them
stands here: `reading` is the one door for all that is read, `routing` says where a name lives.
"""
