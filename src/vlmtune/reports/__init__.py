"""Pages that hold everything in one file: text, plots, pictures; they need no network."""
