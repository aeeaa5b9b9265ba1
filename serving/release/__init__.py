"""Releases: states, two signatures, site keys, signed documents; the records say which version is effective."""
