"""Everything that needs PyTorch. Today: the recipe that made pico."""
