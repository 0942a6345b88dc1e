"""A trained student as one file: its architecture, its weights, and the conventions it was trained under.

Reads both the small files that `save_policy` writes and whole Lightning checkpoints of `StudentModule`.
"""

from __future__ import annotations

import logging
import os
import typing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gigapixel.run_folder.atomic import write_bytes
from gigapixel.run_folder.config.named_weights import SHIPPED
from gigapixel.run_folder.config.value_types import described, fits
from simulator.conventions import STUDENT_CONVENTIONS, refuse_other, stamp
from student.network.encoder_config import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.torch_file import read_torch_file, to_bytes

logger = logging.getLogger(__name__)
CONFIG_KEY = "student_policy_config"
WEIGHTS_KEY = "student_policy"
CONVENTIONS_KEY = "student_policy_conventions"
"""The stamp of `simulator.conventions.STUDENT_CONVENTIONS`; files of older versions have none and are accepted."""
MOST_UNITS = 16_384
"""No layer, no side of a picture and no number of layers is larger."""
NOT_ARCHITECTURE = (
    "pretrained",
    "pretrained_from",
    "freeze_backbone",
    "grid_mask",
    "register_std",
    "dropout",
    "drop_path",
    "selection",
)
"""Settings of an architecture that may differ from a file's: they change none of its weights."""
SHIPPED_FILE = Path(__file__).parent / "pretrained" / "student.pt"
"""The student that is part of the package, by the name SHIPPED."""
MODULE_PREFIX = "policy."
"""Prefix of the policy's weights in a checkpoint of `StudentModule`."""


def save_policy(policy: StudentPolicy, path: str | os.PathLike[str]) -> None:
    """Write architecture, weights and conventions to one file, atomically."""
    weights = {name: tensor.detach().cpu() for name, tensor in policy.state_dict().items()}
    contents = {
        CONFIG_KEY: asdict(policy.config),
        WEIGHTS_KEY: weights,
        CONVENTIONS_KEY: stamp(STUDENT_CONVENTIONS),
    }
    write_bytes(path, to_bytes(contents))


def policy_file(source: str | os.PathLike[str]) -> Path:
    """The file of a student: a path, or by the name `pretrained` the one that is part of the package. Raises
    FileNotFoundError where the package has none."""
    if os.fspath(source) != SHIPPED:
        return Path(source)
    if not SHIPPED_FILE.is_file():
        raise FileNotFoundError(
            f"student {SHIPPED}: {SHIPPED_FILE} is not there; train one (`gigapixel student fit`) and give its path"
        )
    return SHIPPED_FILE


def load_policy(source: str | os.PathLike[str]) -> StudentPolicy:
    """The policy of a file (see `policy_file`) in evaluation mode, on the CPU."""
    path = policy_file(source)
    contents = _read(path)
    config = config_from_dict(contents[CONFIG_KEY], path)
    weights = _weights(contents, path)
    with torch.device("meta"):  # no memory is taken for an architecture before the weights have its shapes
        _refuse_other_shapes(StudentPolicy(config), weights, path)
    policy = StudentPolicy(config)
    _load_weights(policy, weights, path)
    return policy.eval()


def load_weights(policy: StudentPolicy, source: str | os.PathLike[str]) -> None:
    """Load the weights of a file (see `policy_file`) into an existing policy. Raises ValueError for another
    architecture or other conventions."""
    path = policy_file(source)
    contents = _read(path)
    check_architecture(contents, policy.config, path)
    _load_weights(policy, _weights(contents, path), path)


def check_architecture(contents: dict[str, Any], wanted: PolicyConfig, path: Path) -> None:
    """Raises ValueError where a file's architecture differs from `wanted`, or where its conventions differ from
    ours."""
    if CONFIG_KEY not in contents:
        raise ValueError(f"{path} is not a student checkpoint: it has no field {CONFIG_KEY}")
    _check_conventions(contents, path)
    differences = _differences(asdict(config_from_dict(contents[CONFIG_KEY], path)), asdict(wanted))
    if differences:
        raise ValueError(
            f"{path} holds another architecture than the config asks for: {', '.join(differences)}"
        )


def config_from_dict(stored: object, path: Path) -> PolicyConfig:
    """Rebuild the config that `asdict` flattened; the stored weights replace any pretrained download. Raises ValueError
    for anything else."""
    try:
        if not isinstance(stored, dict):
            raise TypeError(f"it is {str(stored)[:40]!a}; expected a dictionary")
        encoder = dict(stored["encoder"], pretrained=False, channels=tuple(stored["encoder"]["channels"]))
        planner = dict(stored["planner"])
        rest = {name: value for name, value in stored.items() if name not in ("encoder", "planner")}
        for kind, values in ((EncoderConfig, encoder), (PlannerConfig, planner), (PolicyConfig, rest)):
            _refuse_other_types(kind, values)
        return PolicyConfig(EncoderConfig(**encoder), PlannerConfig(**planner), **rest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: field {CONFIG_KEY} is not a student architecture: {reason}") from error


def _refuse_other_types(kind: type, values: dict[str, Any]) -> None:
    """Raises TypeError that names the first value which is not of its field's type, or beyond MOST_UNITS."""
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        if name not in hints:
            raise TypeError(f"{str(name)[:40]!a} is no name of it")
        if not fits(value, hints[name]):
            raise TypeError(f"{name} is {repr(value)[:40]}; expected {described(hints[name])}")
        sizes = value if isinstance(value, tuple) else (value,)
        if any(isinstance(size, int) and size > MOST_UNITS for size in sizes):
            raise TypeError(f"{name} is {repr(value)[:40]}; expected at most {MOST_UNITS}")


def _read(path: Path) -> dict[str, Any]:
    contents = read_torch_file(path, "a student policy")
    if CONFIG_KEY not in contents:
        raise ValueError(f"{path} is not a student policy file: it has no field {CONFIG_KEY}")
    _check_conventions(contents, path)
    return contents


def _check_conventions(contents: dict[str, Any], path: Path) -> None:
    if CONVENTIONS_KEY in contents:
        if not isinstance(contents[CONVENTIONS_KEY], dict):
            raise ValueError(
                f"{path}: field {CONVENTIONS_KEY} is no dictionary; expected an intact student policy"
            )
        refuse_other(contents[CONVENTIONS_KEY], STUDENT_CONVENTIONS, str(path))


def _weights(contents: dict[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """The weights by name. Raises ValueError for a file without any, and for those that are no finite numbers."""
    field = WEIGHTS_KEY if WEIGHTS_KEY in contents else "state_dict"
    state = contents.get(field)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError(f"{path} is not a student policy file: it has neither {WEIGHTS_KEY} nor state_dict")
    prefix = "" if field == WEIGHTS_KEY else MODULE_PREFIX
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    for name, value in weights.items():
        dense = isinstance(value, torch.Tensor) and value.layout == torch.strided
        if not dense or not torch.isfinite(value).all():
            raise ValueError(
                f"{path}: weight {name[:80]!a} is no tensor of finite numbers; expected an intact student policy"
            )
    return weights


def _refuse_other_shapes(policy: StudentPolicy, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Raises ValueError that names the first weight whose shape differs from that in a policy."""
    wanted = policy.state_dict()
    for name in sorted(set(wanted) | set(weights)):
        there = tuple(weights[name].shape) if name in weights else "missing"
        here = tuple(wanted[name].shape) if name in wanted else "unknown"
        if there != here:
            raise ValueError(
                f"{path}: the weights do not fit their architecture: {name[:80]} is {there} in the file and {here} in "
                "the architecture"
            )


def _load_weights(policy: StudentPolicy, weights: dict[str, torch.Tensor], path: Path) -> None:
    _refuse_other_shapes(policy, weights, path)
    policy.load_state_dict(weights)
    logger.info("student policy read from %s", path)


def _differences(stored: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """Names and values that differ, except those of NOT_ARCHITECTURE."""
    found: list[str] = []
    for name, value in stored.items():
        if isinstance(value, dict):
            found += _differences(value, wanted[name], f"{prefix}{name}.")
        elif name not in NOT_ARCHITECTURE and value != wanted[name]:
            found.append(f"{prefix}{name} is {value} there and {wanted[name]} here")
    return found
