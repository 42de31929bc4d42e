"""Reports of the position probes over a data set: tables, figures, and one page."""
