"""Proof of work: which headers may follow which, and what they weigh.

Functions of headers alone: no block bodies, no clock (whoever asks says what time it is), no store.
Bitcoin's arithmetic to the bit where Bitcoin has a rule, so that its own headers verify.
"""
