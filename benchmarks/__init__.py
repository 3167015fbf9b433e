"""Measurements of the running system, each against what else a user could run."""
