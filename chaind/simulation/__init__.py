"""Whole nodes on a virtual clock, network and disk, from one seed.

Law: what runs here is the node's own code from the sockets and the files upwards; only what the
operating system would do is made up. All chance comes from the seed, and nothing here asks the
machine for time, dice or order: the same seed gives the same trace in every process.
"""
