"""Reports of the mechanism tools over a data set: tables, figures, and one page."""
