"""The commands: thin over the rooms below, one module per command."""
