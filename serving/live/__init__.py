"""What is known of a plant's batches, kept up to date row by row."""
