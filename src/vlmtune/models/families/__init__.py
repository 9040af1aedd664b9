"""Model families, one file of facts each: `FAMILY = ModelFamily(...)`."""
