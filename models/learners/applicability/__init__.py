"""Whether a predictor applies to a snapshot: what training saw, and limits from later training batches."""
