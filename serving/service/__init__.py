"""Carries out requests, for HTTP and the command line alike. An answer is committed before it is returned."""
