"""One suite a seam, run over every file of it: a new storage or format inherits its tests."""
