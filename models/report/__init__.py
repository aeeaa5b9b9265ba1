"""The figures drawn and written down for people."""
