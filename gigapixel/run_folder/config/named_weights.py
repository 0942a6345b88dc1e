"""Files of weights that a command line or its configs name: missing ones are refused before any room is loaded, which
takes ten seconds and more. What a file holds is checked by who reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gigapixel.run_folder.config.command_line import config_files
from gigapixel.run_folder.config.packaged_weights import packaged_file
from gigapixel.run_folder.config.published_weights import refuse_unreachable_weights
from gigapixel.run_folder.config.yaml_file import parse_yaml, read_mapping

SHIPPED = "pretrained"
"""Instead of a path: the weights that are shipped with the package."""
STUDENT_FILE = f"a student's policy.pt or checkpoint, or {SHIPPED!r}"
TEACHER_FILE = f"a teacher's policy.h5, or {SHIPPED!r}"
WEIGHT_SETTINGS: dict[str, dict[str, str]] = {
    "student": {"model.weights": STUDENT_FILE, "data.world.teacher": TEACHER_FILE},
    "adapt": {"model.student": STUDENT_FILE},
    "film": {"weights": STUDENT_FILE},
    "teacher": {"policy": TEACHER_FILE, "start_from": TEACHER_FILE},
}
"""By command: the settings that name a file of weights, and what is expected there."""


def refuse_missing_weights(command: str, arguments: Sequence[str]) -> None:
    """Check the weights that `gigapixel COMMAND ARGUMENTS` names.

    Raises:
        OSError: A file is missing, or published weights can be found neither here nor on the network.
        ValueError: A config is no YAML mapping.
    """
    prints = any(argument.startswith(("-h", "--help", "--print_config")) for argument in arguments)
    if command not in WEIGHT_SETTINGS or prints:
        return
    settings = named_settings(arguments)
    for name, expected in WEIGHT_SETTINGS[command].items():
        path = settings.get(name)
        if isinstance(path, str) and path not in ("", SHIPPED) and not Path(path).is_file():
            raise FileNotFoundError(f"{name}={path}: there is no such file; expected {expected}")
    if command == "student" and not settings.get("model.weights"):
        _check_encoder(settings)
    if command == "adapt" and "fit" not in arguments:
        _check_adapted(settings)


def _check_encoder(settings: Mapping[str, object]) -> None:
    kind, name, pretrained = (
        settings.get(f"model.policy.encoder.{field}") for field in ("kind", "timm_name", "pretrained")
    )
    if kind in ("timm", "registers") and pretrained is True and isinstance(name, str):
        if settings.get("model.policy.encoder.pretrained_from") == "package":
            packaged_file(name)
        else:
            refuse_unreachable_weights(name)


def _check_adapted(settings: Mapping[str, object]) -> None:
    """The adapted students of the seeds, where both run and seeds are given."""
    run, seeds = settings.get("run"), settings.get("seeds")
    if not isinstance(run, str) or not isinstance(seeds, list):
        return
    for seed in seeds:
        adapted = Path(run) / f"seed-{seed}" / "adapted.pt"
        if not adapted.is_file():
            raise FileNotFoundError(f"{adapted}: no such adapted student; run `gigapixel adapt fit` first")


def named_settings(arguments: Sequence[str]) -> dict[str, object]:
    """Settings by dotted name, from the config files and, before them, the options of a command line.

    It knows no option, so flags without a value may take the next argument as theirs; nothing is refused for that.
    """
    settings: dict[str, object] = {}
    for path in config_files(arguments):
        settings |= dict(_flat(read_mapping(path), ""))
    for index, argument in enumerate(arguments):
        option, equals, text = argument.partition("=")
        if not option.startswith("--"):
            continue
        if not equals:
            text = next(iter(arguments[index + 1 : index + 2]), "")
        try:
            settings[option.removeprefix("--")] = parse_yaml(text, option)
        except ValueError:
            settings[option.removeprefix("--")] = text
    return settings


def _flat(values: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
