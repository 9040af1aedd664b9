"""How good a model is: benchmarks, their official scores, and honest statistics around them."""
