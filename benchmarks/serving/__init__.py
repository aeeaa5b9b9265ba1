"""Parts of `bench_serving`: a model of fixed size, a client, loads, outages."""
