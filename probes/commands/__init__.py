"""The commands of the probes: a file a command."""
