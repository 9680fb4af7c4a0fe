"""Transactions that wait for a block: pool, limits, replacement, selection. Pure."""
