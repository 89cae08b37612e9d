"""When things run: the command line, the Prefect flow, settings and the lock. Knows no column."""
