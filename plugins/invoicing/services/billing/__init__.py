"""Issue and decide: runs, generate, count, decide, single invoices."""
