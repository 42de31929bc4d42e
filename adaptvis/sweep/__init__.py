"""The sweep: every sample under every setting, once."""
