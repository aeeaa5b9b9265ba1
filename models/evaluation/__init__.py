"""How good a predictor is: plain functions over frames, each figure with its number of failures."""
