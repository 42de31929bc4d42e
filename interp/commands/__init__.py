"""The commands of the instrument: a file a command."""
