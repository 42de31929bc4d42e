"""Studies: a tool of the probes over a data set, measured, kept, and written as tables, figures and one page."""
