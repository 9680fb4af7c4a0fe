"""Values: amounts, hashes, keys, addresses, transactions, blocks, votes, genesis, errors.

Everything here is immutable and pure. Nothing here knows a clock, a socket, a disk or a loop.
"""
