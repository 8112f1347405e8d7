"""Floor 5: the processes that serve the application, from the first socket to the last drain."""
