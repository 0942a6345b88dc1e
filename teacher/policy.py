"""A trained teacher policy, in memory and as a file.

The file is HDF5: the weights as float16 datasets under ``params/``, and as attributes everything that is needed to use
them without the training script: the configuration (YAML), the constants that the weights depend on
(`simulator.conventions.stamp`, JSON), the commit, the number of agent-steps and the seed.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct, traverse_util
from jaxtyping import Array, Int, Key

from gigapixel.run_folder.config.named_weights import SHIPPED
from gigapixel.run_folder.config.yaml_file import parse_yaml
from gigapixel.run_folder.hdf5_file import (
    READ_FAULTS,
    attribute_is,
    open_hdf5,
    read_array,
    read_fault,
    write_hdf5,
)
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import CONTROLLER_SHARES, SimulatorConfig
from simulator.conventions import NUM_JERK_ACTIONS, TEACHER_CONVENTIONS, refuse_other, stamp
from simulator.reset.situations.config import SituationConfig
from simulator.roads.array_file import unicode_text
from simulator.rollout import PolicyFn
from simulator.state import WorldState
from teacher.config import TeacherConfig, from_dict, to_yaml
from teacher.network.actor_critic import (
    NetworkConfig,
    Params,
    TeacherNetwork,
    policy_logits,
    sample_actions,
)
from teacher.observation.observe import Observation, ObservationConfig, example_observation, observe_worlds
from teacher.observation.occlusion import View
from teacher.reward import RewardConfig

POLICY_FORMAT = "gigapixel teacher policy"
POLICY_VERSION = 2
PRETRAINED_POLICY = Path(__file__).parent / "pretrained" / "policy.h5"
_EXPECTED = "expected an intact teacher policy: a policy.h5, or 'pretrained'"


@struct.dataclass
class Policy:
    """Weights and the settings that they were trained under."""

    params: Params  # weights of actor and critic, float32
    network: NetworkConfig = struct.field(pytree_node=False)
    observation: ObservationConfig = struct.field(pytree_node=False)
    simulator: SimulatorConfig = struct.field(pytree_node=False)
    reward: RewardConfig = struct.field(pytree_node=False, default=RewardConfig())

    @property
    def plain_simulator(self) -> SimulatorConfig:
        """The training simulator without randomisation that only training uses: maps without affine variants, no
        added all-way stops, no situations, every agent driven by a policy."""
        changes: dict[str, Any] = dict.fromkeys(CONTROLLER_SHARES, 0.0)
        changes["situations"] = SituationConfig()
        return dataclasses.replace(self.simulator, map_variants=1, all_way_stop_share=0.0, **changes)

    def act(self, observation: Observation, key: Key[Array, ""], greedy: bool) -> Int[Array, "*agents"]:
        """Action indices for observations with any leading axes: the most probable action if ``greedy``, else one
        sampled with ``key`` (consumed)."""
        network = TeacherNetwork(self.network, NUM_JERK_ACTIONS)
        logits = policy_logits(network, self.params, observation)
        if greedy:
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return sample_actions(logits, key)


def make_policy_fn(
    policy: Policy, atlas: RoadAtlas, config: SimulatorConfig, greedy: bool, view: View | None = None
) -> PolicyFn:
    """The policy as a function of batched worlds and a key, for `simulator.rollout.rollout`; ``view`` as in
    `observe_worlds`."""

    def policy_fn(worlds: WorldState, key: Array) -> Array:
        return policy.act(observe_worlds(worlds, atlas, config, policy.observation, view), key, greedy)

    return policy_fn


def save_policy(
    path: str | os.PathLike[str], params: Params, config: TeacherConfig, commit: str, agent_steps: int
) -> None:
    """Writes the policy file atomically. Raises OSError that names `path`, such as for a full disk."""
    with write_hdf5(path) as file:
        file.attrs.update(
            format=POLICY_FORMAT,
            version=POLICY_VERSION,
            config=to_yaml(config),
            conventions=json.dumps(stamp(TEACHER_CONVENTIONS)),
            commit=commit,
            agent_steps=agent_steps,
            seed=config.seed,
        )
        for name, leaf in traverse_util.flatten_dict(jax.device_get(params), sep="/").items():
            file.create_dataset(f"params/{name}", data=np.asarray(leaf, np.float16), compression="gzip")


def policy_file(source: str | os.PathLike[str]) -> Path:
    """The file of a teacher: a path, or by the name ``"pretrained"`` the one that is part of the package."""
    return PRETRAINED_POLICY if os.fspath(source) == SHIPPED else Path(source)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """The policy in a file; ``"pretrained"`` is the shipped one. Observation dropout is off.

    Raises OSError for a file that is missing, in use or not readable; and ValueError for one that is not a teacher
    policy, is damaged, was written under other conventions (see `simulator.conventions`), or holds weights that do not
    fit its own configuration.
    """
    source = policy_file(path)
    config, stored = _read(source)
    network = TeacherNetwork(config.network, NUM_JERK_ACTIONS)
    expected = jax.eval_shape(network.init, jax.random.key(0), example_observation(config.observation))
    _refuse_other_shapes(stored, expected, f"{source}: ", "the network of its configuration")
    params = {name: jnp.asarray(value, jnp.float32) for name, value in stored.items()}
    return Policy(
        params=traverse_util.unflatten_dict(params, sep="/"),
        network=config.network,
        observation=config.observation.without_dropout(),
        simulator=config.simulator,
        reward=config.reward,
    )


def weights_from(path: str | os.PathLike[str], params: Params) -> Params:
    """The weights in a policy file, for a network whose own weights have the shapes of ``params``.

    Raises what `load_policy` raises, and ValueError where a weight has another shape than in ``params``.
    """
    found = load_policy(path).params
    stored = traverse_util.flatten_dict(found, sep="/")
    here = "this run, whose network and observation must be those of the file"
    _refuse_other_shapes(stored, params, f"start_from={path}: ", here)
    return found


def _refuse_other_shapes(
    stored: Mapping[str, np.ndarray | Array], expected: Params, where: str, what: str
) -> None:
    """Raises ValueError naming the first weight whose shape differs between ``stored`` (by path) and ``expected`` (a
    tree of arrays or shapes)."""
    wanted = traverse_util.flatten_dict(expected, sep="/")
    for name in sorted(set(wanted) | set(stored)):
        there = stored[name].shape if name in stored else "missing"
        here = wanted[name].shape if name in wanted else "unknown"
        if there != here:
            raise ValueError(f"{where}weight {name} is {there} in the file and {here} in {what}")


def describe_policy(path: str | os.PathLike[str]) -> dict[str, str | int]:
    """Where a policy file comes from: commit, agent_steps, seed."""
    source = policy_file(path)
    with open_hdf5(source, _EXPECTED) as file:
        try:
            return {
                "commit": str(file.attrs["commit"]),
                "agent_steps": int(file.attrs["agent_steps"]),
                "seed": int(file.attrs["seed"]),
            }
        except (*READ_FAULTS, ValueError) as error:
            raise read_fault(source, error, _EXPECTED) from error


def _read(source: Path) -> tuple[TeacherConfig, dict[str, np.ndarray]]:
    """The configuration and the weights by path, float16. Raises what `load_policy` does."""
    with open_hdf5(source, _EXPECTED) as file:
        try:
            if not attribute_is(file.attrs.get("format"), POLICY_FORMAT):
                raise ValueError(
                    f"{source} is not a teacher policy: its format is {file.attrs.get('format')!r}, "
                    f"expected {POLICY_FORMAT!r}"
                )
            version = file.attrs.get("version")
            if not attribute_is(version, POLICY_VERSION):
                raise ValueError(
                    f"{source}: version {version} of the policy format is unknown; expected {POLICY_VERSION}"
                )
            # Before the configuration, which may name traits that are unknown here. Older files lack the attribute.
            if "conventions" in file.attrs:
                conventions = json.loads(file.attrs["conventions"])
                if not isinstance(conventions, dict):
                    raise RuntimeError("attribute conventions is no JSON object")
                refuse_other(conventions, TEACHER_CONVENTIONS, str(source))
            config = from_dict(TeacherConfig, parse_yaml(str(file.attrs["config"]), str(source)), str(source))
            stored: dict[str, np.ndarray] = {}
            file["params"].visititems(lambda name, item: _keep_weights(stored, name, item))
            return config, stored
        except (*READ_FAULTS, json.JSONDecodeError) as error:
            raise read_fault(source, error, _EXPECTED) from error


def _keep_weights(stored: dict[str, np.ndarray], name: str | bytes, item: h5py.HLObject) -> None:
    """Adds a dataset. Raises RuntimeError for one that cannot be in the file, or holds anything but finite numbers."""
    if isinstance(item, h5py.Dataset):
        weights = read_array(item)
        if weights.dtype.kind != "f" or not np.isfinite(weights).all():
            raise RuntimeError(f"weight {name!a} is no array of finite numbers")
        stored[unicode_text(name)] = weights
