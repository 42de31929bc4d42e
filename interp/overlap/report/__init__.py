"""The report of an overlap study."""
