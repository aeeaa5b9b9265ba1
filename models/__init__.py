"""Features to a calibrated, explained predictor, and the figures it is judged by."""
