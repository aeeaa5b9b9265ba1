"""Doors through which data enters."""
