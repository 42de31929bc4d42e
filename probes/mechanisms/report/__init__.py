"""Reports of the mechanisms tools over pairs: sentences, tables, figures, and one page."""
