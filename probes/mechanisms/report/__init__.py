"""Reports of the mechanism tools: sentences, tables, figures, and one page."""
