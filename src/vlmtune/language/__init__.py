"""How we ask and how we read answers."""
