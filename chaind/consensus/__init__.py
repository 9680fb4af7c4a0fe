"""Agreement: sans-IO cores that are given events and return effects.

No clock, dice, crypto, disk or event loop. `core.py` is the seam between a core and its shell.
"""
