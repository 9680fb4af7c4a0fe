"""The miner: searching nonces of headers, on every core that it is given.

Rules of the chain are not decided here: a header and a target come in, nonces go out. What a kernel
finds counts once hashlib has said so.
"""
