"""Each figure that is claimed, as a command: `make bench`."""
