"""Command lines: what is wrong with one is a sentence with the nearest accepted names, and not a page of usage."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gigapixel.run_folder.config.finite import refuse_not_finite
from gigapixel.run_folder.config.nearest import did_you_mean
from gigapixel.run_folder.config.yaml_file import read_mapping

if TYPE_CHECKING:
    import jsonargparse
else:  # of whose classes those of jsonargparse are made; only some commands load it
    jsonargparse = argparse

CONFIG_OPTIONS = ("--config", "-c")
LONGEST_MESSAGE = 500
"""Longer messages of the parser, which may quote whole values and types, are cut."""
_UNKNOWN_NAME = re.compile(r"unrecognized arguments: (\S+)|[Kk]ey ['\"]([\w.]+)['\"] is not expected")
_INVALID_CHOICE = re.compile(r"invalid choice: '([^']*)'")


class CommandParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that raises ValueError with one sentence instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        """Raises ValueError with the message and, for an unknown option or command, those that resemble it."""
        raise ValueError(f"{message}{_suggestion(message, _names(self))} (see `{self.prog} --help`)")


def parse_config_arguments(
    parser: jsonargparse.ArgumentParser, arguments: Sequence[str]
) -> jsonargparse.Namespace:
    """The parsed arguments of a parser made with `exit_on_error=False`, its `--config` files included.

    Raises ValueError or OSError with one sentence for a file that cannot be read, holds no names with values or has one
    twice, for an unknown name or a value of another type, and for a number that is NaN or infinite.
    """
    files = config_files(arguments)
    for path in files:
        read_mapping(path)
    try:
        values = parser.parse_args(list(arguments))
    except (argparse.ArgumentError, OverflowError) as error:  # a whole number that no float can hold
        message = " ".join(str(error).split())
        short = message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 3] + "..."
        source = "".join(f"{path}: " for path in files[-1:])
        raise ValueError(f"{source}{short}{_suggestion(message, _names(parser))}") from error
    refuse_not_finite(values.as_dict(), ", ".join([*map(str, files), "command line"]))
    return values


def config_files(arguments: Sequence[str]) -> list[Path]:
    """The files that `--config` names; its value may also be YAML itself, such as `{seed: 1}`."""
    values = []
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in CONFIG_OPTIONS:
            values += [value] if equals else arguments[index + 1 : index + 2]
    return [Path(value) for value in values if Path(value).exists() or not _is_yaml(value)]


def _is_yaml(value: str) -> bool:
    return value.lstrip().startswith("{") or ": " in value or "\n" in value


def _suggestion(message: str, known: Iterable[str]) -> str:
    unknown = _UNKNOWN_NAME.search(message)
    if unknown is None:
        chosen = _INVALID_CHOICE.search(message)
        return did_you_mean(chosen[1], known) if chosen else ""
    option, key = unknown.groups()
    if option:
        return did_you_mean(option.partition("=")[0], (name for name in known if name.startswith("-")))
    return did_you_mean(key, (name.lstrip("-") for name in known))


def _names(parser: argparse.ArgumentParser) -> list[str]:
    """Options and sub-commands of a parser, and of its sub-commands."""
    names: list[str] = []
    for action in parser._actions:
        names += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                names += [name, *_names(command)]
    return names
