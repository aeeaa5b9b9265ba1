"""A plant's calendar replayed on public data: the data sets, the rivals and the measures of `benchmarks.bench_field`."""
