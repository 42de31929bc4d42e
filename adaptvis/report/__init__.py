"""The report of an evaluation: its numbers, tables, figures and page."""
