"""Linear probes of position on image tokens."""
