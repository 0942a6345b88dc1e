"""Trained weights and checkpoints: any change of a good file gives finite weights of its shapes, or a sentence."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simulator.conventions import STUDENT_CONVENTIONS, stamp
from student.checkpoint import CONFIG_KEY, CONVENTIONS_KEY, MODULE_PREFIX, WEIGHTS_KEY
from student.checkpoint import load_policy as load_student
from teacher.config import TeacherConfig
from teacher.network.actor_critic import NetworkConfig, TeacherNetwork, init_params
from teacher.observation.observe import example_observation
from teacher.policy import describe_policy, load_policy, save_policy
from teacher.run.checkpoint import DIGEST, load_checkpoint, read_progress, save_checkpoint
from tests.adaptation.conftest import untrained_student
from tests.fuzz import hdf5_changes, tree_changes
from tests.fuzz.byte_damage import ByteDamage, byte_damage
from tests.fuzz.judge import Judge

Hdf5Mutation = hdf5_changes.hdf5_changes() | byte_damage()


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "policy.h5"
    config = TeacherConfig(network=NetworkConfig(flat_widths=(8,), set_widths=(8,), trunk_widths=(8,)))
    params = init_params(
        TeacherNetwork(config.network), example_observation(config.observation), jax.random.key(0)
    )
    save_policy(path, params, config, commit="abc", agent_steps=7)
    return path


@given(mutation=Hdf5Mutation)
def test_teacher_policies(
    mutation: list[hdf5_changes.Hdf5Change] | ByteDamage, judge: Judge, teacher_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mutant.h5"
    shutil.copy(teacher_file, path)
    hdf5_changes.change(path, mutation)

    def read() -> None:
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(load_policy(path).params))
        assert set(describe_policy(path)) == {"commit", "agent_steps", "seed"}

    judge(read, path)


def _state() -> dict[str, Any]:
    return {"key": jax.random.key(7), "params": {"kernel": jnp.linspace(0.1, 1.0, 3), "bias": jnp.asarray(-0.5)},
            "worlds": (jnp.asarray([True, False]), jnp.zeros((0, 4)))}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run"), _state(), 12, {"agent_steps": 7}, keep=2)


@given(mutation=Hdf5Mutation)
def test_teacher_checkpoints(
    mutation: list[hdf5_changes.Hdf5Change] | ByteDamage, judge: Judge, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / checkpoint.name
    shutil.copy(checkpoint, path)
    hdf5_changes.change(path, mutation)

    def read() -> None:
        read_progress(path)
        loaded, progress = load_checkpoint(path, jax.eval_shape(_state))
        with h5py.File(path) as file:
            verified = DIGEST in file.attrs  # older checkpoints have none
        if verified:
            assert progress == {"agent_steps": 7}
            assert (loaded["params"]["kernel"] == _state()["params"]["kernel"]).all()

    judge(read, path)


def _student_contents(lightning: bool) -> dict[str, Any]:
    policy = untrained_student(0)
    weights = policy.state_dict()
    if lightning:
        stored: dict[str, Any] = {"state_dict": {f"{MODULE_PREFIX}{name}": value for name, value in weights.items()},
                                  "epoch": 3, "optimizer_states": [{}]}  # fmt: skip
    else:
        stored = {WEIGHTS_KEY: dict(weights)}
    return stored | {CONFIG_KEY: asdict(policy.config), CONVENTIONS_KEY: stamp(STUDENT_CONVENTIONS)}


STUDENTS = [_student_contents(lightning) for lightning in (False, True)]
TENSORS = (
    torch.zeros(3),
    torch.full((8,), torch.nan),
    torch.zeros((), dtype=torch.int64),
    torch.ones(2, 2).to_sparse(),
)
VALUES = (*tree_changes.ODD_VALUES, *TENSORS, (8, 8), 12.5, b"x")


@given(which=st.integers(0, 1), changes=tree_changes.tree_changes(VALUES), damage=st.none() | byte_damage())
def test_students(
    which: int,
    changes: Sequence[tree_changes.TreeChange],
    damage: ByteDamage | None,
    judge: Judge,
    tmp_path: Path,
) -> None:
    path = tmp_path / "student.pt"
    file = io.BytesIO()
    torch.save(STUDENTS[which] if damage else tree_changes.changed(STUDENTS[which], changes), file)
    path.write_bytes(damage.applied(file.getvalue()) if damage else file.getvalue())

    def read() -> None:
        policy = load_student(path)
        assert all(bool(torch.isfinite(value).all()) for value in policy.state_dict().values())

    judge(read, path)
