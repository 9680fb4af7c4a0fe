"""Types of what stands on the command line, whose refusals a person understands."""

import click


class Whole(click.IntRange):
    """A whole number within bounds."""

    name = "whole number"
