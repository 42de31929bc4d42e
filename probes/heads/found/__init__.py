"""Found heads: scored, selected, laid out and held against each other, written to a folder and read from it."""
