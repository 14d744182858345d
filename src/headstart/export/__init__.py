"""Networks of a finished run for other libraries: written, read back there, compared."""
