"""Other tools' spellings of our settings, a file for each tool."""
