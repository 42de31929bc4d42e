"""Store: files that survive a kill."""
