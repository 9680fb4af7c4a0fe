"""Options that environment variables give too, and what is said of those.

Law: CHAIND_COMMAND_OPTION is --option of that command. Whoever is told that a value is refused is
told where it came from, and a variable that names no option is refused.
"""

import os
from difflib import get_close_matches

import click
from click.core import ParameterSource

from chaind.primitives.errors import LocalFault


class VariableUnknown(LocalFault):
    """A variable for a command that names no option of it."""

    code = "variable-unknown"
    text = "environment variable {variable} is no option of `chaind {command}`. {hint}"
    advice = "The command's --help lists the options; unset the variable or correct its name."
    exit_code = 78  # EX_CONFIG


def is_utf8(text: str) -> bool:
    """Python has other bytes of arguments, environment and terminal as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def take_variables(command: click.Command) -> None:
    """Have every option of a command read its variable."""
    for option in command.params:
        words = [command.name or "", option.opts[0].removeprefix("--")]
        option.envvar = "_".join(["chaind", *words]).replace("-", "_").upper()


def refuse_unknown_variables(command: click.Command) -> None:
    """Raise `VariableUnknown` for a variable that begins as the command's do, and is none of them.

    What is empty counts as unset.
    """
    known = [str(option.envvar) for option in command.params]
    prefix = f"CHAIND_{command.name}_".upper()
    for variable, value in os.environ.items():
        if variable.startswith(prefix) and value and variable not in known:
            near = get_close_matches(variable, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known))}."
            raise VariableUnknown(variable=variable, command=command.name, hint=hint)


def given(name: str) -> str:
    """How a person gave a parameter of the running command; "" where its default holds."""
    context = click.get_current_context()
    option = next(param for param in context.command.params if param.name == name)
    source = context.get_parameter_source(name)
    if source is ParameterSource.ENVIRONMENT:
        return _variable(option)
    return option.opts[0] if source is ParameterSource.COMMANDLINE else ""


def refuse_given(names: list[str], why: str) -> None:
    """Refuse the first of these parameters that was given: "--share goes with --mix mixed."."""
    for name in names:
        if told := given(name):
            raise click.UsageError(f"{told} {why}.")


def name_variable(error: click.BadParameter) -> None:
    """Let the error name the variable that the value came from, if it did."""
    context, option = error.ctx, error.param
    if context is None or option is None or option.name is None:
        return
    if context.get_parameter_source(option.name) is ParameterSource.ENVIRONMENT:
        error.param_hint = _variable(option)


def _variable(option: click.Parameter) -> str:
    names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
    return "environment variable " + next(name for name in names if os.environ.get(name))
