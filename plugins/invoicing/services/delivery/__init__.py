"""Render and send: documents, archive, compose, deliver, ledger, journal, sweep, a person's resolution."""
