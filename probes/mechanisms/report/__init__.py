"""Reports of the mechanisms tools over pairs: sentences, tables, figures, and one page."""

"""Reports of the mechanism tools over a data set: tables, figures, and one page."""
