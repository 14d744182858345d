"""The commands beside ``run`` and ``demo``: each parses, calls and prints."""
