"""A predictor and one batch's snapshot to the record that a plant reads."""
