"""Issue and decide: runs, generate, count, decide, single invoices, what is out of step."""
