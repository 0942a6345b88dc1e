"""Policy files: they carry the constants that they were trained under, and are refused under others by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest

from simulator import conventions
from simulator.conventions import LONGITUDINAL_JERKS_MPS3, TEACHER_CONVENTIONS, TRAIT_NAMES, stamp
from teacher.config import TeacherConfig
from teacher.network.actor_critic import NetworkConfig, TeacherNetwork, init_params
from teacher.observation.observe import example_observation
from teacher.policy import PRETRAINED_POLICY, load_policy, save_policy, weights_from


@pytest.fixture
def policy_with(tmp_path: Path) -> Callable[..., Path]:
    """Copies the shipped policy with entries of its stamp changed."""

    def make(**changes: Any) -> Path:
        path = tmp_path / "policy.h5"
        shutil.copy(PRETRAINED_POLICY, path)
        with h5py.File(path, "r+") as file:
            file.attrs["conventions"] = json.dumps(json.loads(file.attrs["conventions"]) | changes)
        return path

    return make


def test_the_shipped_policy_carries_this_versions_stamp() -> None:
    with h5py.File(PRETRAINED_POLICY) as file:
        assert json.loads(file.attrs["conventions"]).items() >= stamp(TEACHER_CONVENTIONS).items()


def test_a_saved_policy_is_loaded_with_its_stamp_and_weights(tmp_path: Path) -> None:
    config = TeacherConfig(network=NetworkConfig(flat_widths=(8,), set_widths=(8,), trunk_widths=(8,)))
    example = example_observation(config.observation)
    params = init_params(TeacherNetwork(config.network), example, jax.random.key(0))
    path = tmp_path / "new" / "policy.h5"
    save_policy(path, params, config, commit="abc", agent_steps=7)
    with h5py.File(path) as file:
        assert json.loads(file.attrs["conventions"]) == stamp(TEACHER_CONVENTIONS)
    for stored, given in zip(jax.tree.leaves(load_policy(path).params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(stored, given, rtol=1e-3, atol=1e-6)  # float16 in the file
    assert [entry.name for entry in path.parent.iterdir()] == ["policy.h5"]


def test_other_trait_names_are_refused_by_name(policy_with: Callable[..., Path]) -> None:
    traits = [*TRAIT_NAMES[:-1], "honking"]
    path = policy_with(traits=traits)
    with pytest.raises(ValueError, match="made with traits=") as refused:
        load_policy(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert str(traits) in message
    assert str(list(TRAIT_NAMES)) in message


def test_another_number_of_actions_is_refused_before_any_shape(policy_with: Callable[..., Path]) -> None:
    """Also where the weights have other shapes than this version's network."""
    path = policy_with(longitudinal_jerks_mps3=[-15.0, 0.0, 4.0])
    with h5py.File(path, "r+") as file:
        head = file["params/params/actor/head/kernel"]
        values = head[()][:, :9]
        del file["params/params/actor/head/kernel"]
        file["params/params/actor/head/kernel"] = values
    expected = rf"made with longitudinal_jerks_mps3=\[-15.0, 0.0, 4.0\], .*{list(LONGITUDINAL_JERKS_MPS3)[1]}"
    for read in (load_policy, lambda path: weights_from(path, load_policy("pretrained").params)):
        with pytest.raises(ValueError, match=expected):
            read(path)


def test_policies_of_before_the_stamp_are_accepted(policy_with: Callable[..., Path]) -> None:
    path = policy_with()
    with h5py.File(path, "r+") as file:
        del file.attrs["conventions"]
    leaves = zip(jax.tree.leaves(load_policy(path)), jax.tree.leaves(load_policy("pretrained")), strict=True)
    assert all(np.array_equal(one, other) for one, other in leaves)


def test_what_is_no_policy_is_refused(tmp_path: Path, policy_with: Callable[..., Path]) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"nowhere\.h5: no such file; expected an intact teacher policy"
    ):
        load_policy(tmp_path / "nowhere.h5")
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    with pytest.raises(ValueError, match=r"text\.h5: is not an HDF5 file; expected an intact teacher policy"):
        load_policy(text)
    path = policy_with()
    with h5py.File(path, "r+") as file:
        file.attrs["conventions"] = "{"
    with pytest.raises(
        ValueError, match=r"policy\.h5: truncated or damaged file .* expected an intact teacher policy"
    ):
        load_policy(path)


def test_the_teacher_does_not_depend_on_the_poses_of_trajectories(monkeypatch: pytest.MonkeyPatch) -> None:
    """It acts by jerks: another horizon of labels needs no other teacher."""
    monkeypatch.setattr(conventions, "NUM_POSES", 12)
    load_policy("pretrained")
    monkeypatch.setattr(conventions, "TRAIT_NAMES", ("collision",))
    with pytest.raises(ValueError, match="made with traits="):
        load_policy("pretrained")
