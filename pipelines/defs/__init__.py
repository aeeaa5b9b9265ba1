"""Dagster assets, checks, jobs and schedules: thin shells around the rooms that do the work."""
