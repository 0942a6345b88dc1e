"""A trained student as one file: its architecture, its weights, and the conventions it was trained under.

Reads both the small files that `save_policy` writes and whole Lightning checkpoints of `StudentModule`.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gigapixel.run_folder.atomic import write_bytes
from simulator.conventions import STUDENT_CONVENTIONS, refuse_other, stamp
from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.torch_file import read_torch_file, to_bytes

logger = logging.getLogger(__name__)
CONFIG_KEY = "student_policy_config"
WEIGHTS_KEY = "student_policy"
CONVENTIONS_KEY = "student_policy_conventions"
"""The stamp of `simulator.conventions.STUDENT_CONVENTIONS`; files of older versions have none and are accepted."""
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


def load_policy(path: str | os.PathLike[str]) -> StudentPolicy:
    """The policy in evaluation mode, on the CPU."""
    contents = _read(Path(path))
    config = config_from_dict(contents[CONFIG_KEY], Path(path))
    policy = StudentPolicy(config)
    _load_weights(policy, _weights(contents, Path(path)), Path(path))
    return policy.eval()


def load_weights(policy: StudentPolicy, path: str | os.PathLike[str]) -> None:
    """Load a file's weights into an existing policy. Raises ValueError for another architecture or other
    conventions."""
    contents = _read(Path(path))
    check_architecture(contents, policy.config, Path(path))
    _load_weights(policy, _weights(contents, Path(path)), Path(path))


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


def config_from_dict(stored: dict[str, Any], path: Path) -> PolicyConfig:
    """Rebuild the config that `asdict` flattened; the stored weights replace any pretrained download."""
    try:
        encoder = dict(stored["encoder"], pretrained=False, channels=tuple(stored["encoder"]["channels"]))
        rest = {name: value for name, value in stored.items() if name not in ("encoder", "planner")}
        return PolicyConfig(EncoderConfig(**encoder), PlannerConfig(**stored["planner"]), **rest)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: field {CONFIG_KEY} is not a student architecture: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    contents = read_torch_file(path, "a student policy")
    if CONFIG_KEY not in contents:
        raise ValueError(f"{path} is not a student policy file: it has no field {CONFIG_KEY}")
    _check_conventions(contents, path)
    return contents


def _check_conventions(contents: dict[str, Any], path: Path) -> None:
    if CONVENTIONS_KEY in contents:
        refuse_other(contents[CONVENTIONS_KEY], STUDENT_CONVENTIONS, str(path))


def _weights(contents: dict[str, Any], path: Path) -> dict[str, torch.Tensor]:
    if WEIGHTS_KEY in contents:
        return contents[WEIGHTS_KEY]
    if "state_dict" not in contents:
        raise ValueError(f"{path} is not a student policy file: it has neither {WEIGHTS_KEY} nor state_dict")
    state = contents["state_dict"]
    return {name.removeprefix(MODULE_PREFIX): state[name] for name in state if name.startswith(MODULE_PREFIX)}


def _load_weights(policy: StudentPolicy, weights: dict[str, torch.Tensor], path: Path) -> None:
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path}: the weights do not fit their architecture: {reason}") from error
    logger.info("student policy read from %s", path)


def _differences(stored: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """Names and values that differ; `pretrained` and `freeze_backbone` do not change the architecture."""
    found: list[str] = []
    for name, value in stored.items():
        if isinstance(value, dict):
            found += _differences(value, wanted[name], f"{prefix}{name}.")
        elif name not in ("pretrained", "freeze_backbone") and value != wanted[name]:
            found.append(f"{prefix}{name} is {value} there and {wanted[name]} here")
    return found
