"""The overlap study: over a whole data set, its run and what it says."""
