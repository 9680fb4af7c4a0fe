"""Peers: the encrypted transport, the messages, who is known and who is trusted how far.

Bytes become messages here and messages bytes; what a message *means* is decided in `node`.
"""
