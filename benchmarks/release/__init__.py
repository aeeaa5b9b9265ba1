"""Kills, races, mutations and tamperings of a release."""
