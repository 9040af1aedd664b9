"""Which weights a name stands for, and what is in a model folder. Never imports an engine."""
