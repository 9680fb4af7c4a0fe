"""Pure state transition: checks, coins, accounts, policies, leases, assets, blocks.

Given a state and a block it returns the next state or raises the rule that was broken. Nothing
here knows a clock, a socket, a disk or a loop.
"""
