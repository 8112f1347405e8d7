"""The servers that are measured, each as a context manager that yields a Peer."""
