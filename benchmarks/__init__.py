"""Measurements of the running system, each beside the alternatives that a user could run."""
