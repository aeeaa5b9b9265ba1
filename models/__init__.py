"""From features to a frozen, calibrated, explained and judged predictor."""
