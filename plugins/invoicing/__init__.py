"""Rent invoicing: monthly invoices, the rules of who gets mail, and a ledger that proves what was sent."""

__version__ = "0.1.0"
