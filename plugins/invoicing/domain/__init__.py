"""The rules of rent invoicing: pure functions and plain values, no I/O."""
