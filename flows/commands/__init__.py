"""What each command does: settings and a home in, an `Answer` out. The command line only parses and prints."""
