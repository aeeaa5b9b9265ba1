"""Run history to as-of features. Pure: frames in, frames out; no clock, no files, no orchestration."""
