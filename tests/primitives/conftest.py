"""Speed is for benchmarks: a slow machine fails no test of the room."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
