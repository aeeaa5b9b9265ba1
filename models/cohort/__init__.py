"""Which batches count, with which outcome, on which side of a split; and their snapshots as a matrix."""
