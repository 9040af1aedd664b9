"""The stages of training, and the rehearsal that goes through them without moving a weight."""
