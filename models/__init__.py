"""Features to a calibrated, explained predictor, and the figures of its evaluation."""
