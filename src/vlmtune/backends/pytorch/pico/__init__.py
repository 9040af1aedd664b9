"""How pico, the embedded model, is made from nothing: tokenizer, shape, lessons, training, card."""
