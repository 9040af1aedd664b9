"""One file per dataset; the file's name is the name that a config uses."""
