"""Scores of batches in progress, for people and for an MES."""
