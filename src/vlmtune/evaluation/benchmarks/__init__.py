"""One benchmark a file, found by the file's name; `BENCHMARK` makes a file a benchmark."""
