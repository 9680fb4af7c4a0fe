"""Order books: price-time matching, pure. Orders in, events out.

Knows nothing of accounts' balances, of chains or of transactions: an account and an order id are
bytes that somebody else gives a meaning to. The engine says what is to be reserved, released,
paid and charged; the ledger does it. Nothing here knows a clock, a socket, a disk or a loop.
"""
