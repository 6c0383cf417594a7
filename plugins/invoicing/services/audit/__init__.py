"""Proof afterwards: history chained, a month exported and verified, the whole story of a delivery."""
