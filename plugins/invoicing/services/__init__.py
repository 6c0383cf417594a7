"""Use cases: what the tasks, the command line and the pages do."""
