"""Statistics: intervals, tests, and associations."""
