"""The predictor on the simulated plant, measured against its truth: the rooms of `benchmarks.bench_model`."""
