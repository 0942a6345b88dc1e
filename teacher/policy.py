"""A trained teacher as one value and as one file.

The file is HDF5: the weights (float16), and as attributes everything needed to use them without the training
script: the configuration as YAML, the commit, the experience and the seed.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import yaml
from flax import struct, traverse_util
from jaxtyping import Array, Int, Key

from simulator.config import ROLE_SHARES, SimulatorConfig
from simulator.conventions import NUM_JERK_ACTIONS
from teacher.config import TeacherConfig, from_dict, to_yaml
from teacher.network.actor_critic import NetworkConfig, TeacherNetwork, sample_actions
from teacher.observation.observe import Observation, ObservationConfig, example_observation

FORMAT = "gigapixel teacher policy"
VERSION = 2
PRETRAINED = Path(__file__).parent / "pretrained" / "policy.h5"


@struct.dataclass
class Policy:
    """What it takes to drive: weights, and the settings under which they mean something."""

    params: Any  # weights of actor and critic, float32
    network: NetworkConfig = struct.field(pytree_node=False)
    observation: ObservationConfig = struct.field(pytree_node=False)
    simulator: SimulatorConfig = struct.field(pytree_node=False)

    @property
    def plain_simulator(self) -> SimulatorConfig:
        """The simulator it was trained in, without what training adds: the towns as they are, nobody but drivers."""
        nobody = dict.fromkeys(ROLE_SHARES, 0.0)
        return dataclasses.replace(self.simulator, map_variants=1, all_way_stop_share=0.0, **nobody)  # type: ignore

    def act(self, observation: Observation, key: Key[Array, ""], greedy: bool) -> Int[Array, "*agents"]:
        """Actions for observations with any leading axes: drawn with ``key`` (consumed), or the likeliest."""
        logits = TeacherNetwork(self.network, NUM_JERK_ACTIONS).apply(
            self.params, observation, method="policy"
        )
        if greedy:
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return sample_actions(logits, key)


def save_policy(
    path: str | os.PathLike[str], params: Any, config: TeacherConfig, commit: str, agent_steps: int
) -> None:
    """Writes the policy file; it appears whole or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    with h5py.File(partial, "w") as file:
        file.attrs.update(
            format=FORMAT,
            version=VERSION,
            config=to_yaml(config),
            commit=commit,
            agent_steps=agent_steps,
            seed=config.seed,
        )
        for name, leaf in traverse_util.flatten_dict(jax.device_get(params), sep="/").items():
            file.create_dataset(f"params/{name}", data=np.asarray(leaf, np.float16), compression="gzip")
    partial.replace(target)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """The policy in a file, or the shipped one for ``"pretrained"``.

    Raises FileNotFoundError, or ValueError for a file that is no policy, is damaged, or holds weights that do not
    fit the architecture it names.
    """
    source = PRETRAINED if str(path) == "pretrained" else Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such policy file; give a policy.h5 or 'pretrained'")
    config, stored = _read(source)
    network = TeacherNetwork(config.network, NUM_JERK_ACTIONS)
    expected = jax.eval_shape(network.init, jax.random.key(0), example_observation(config.observation))
    _refuse_other_shapes(stored, expected, f"{source}: ", "the architecture it names")
    params = {name: jnp.asarray(value, jnp.float32) for name, value in stored.items()}
    return Policy(
        params=traverse_util.unflatten_dict(params, sep="/"),
        network=config.network,
        observation=config.observation.without_dropout(),
        simulator=config.simulator,
    )


def weights_from(path: str | os.PathLike[str], params: Any) -> Any:
    """The weights in a policy's file, for a network whose own weights are `params`.

    Raises what `load_policy` raises, and ValueError where the network or its observation is another one.
    """
    found = load_policy(path).params
    stored = traverse_util.flatten_dict(found, sep="/")
    here = "this run, whose network and observation must be those of the file"
    _refuse_other_shapes(stored, params, f"start_from={path}: ", here)
    return found


def _refuse_other_shapes(stored: dict[str, Any], expected: Any, where: str, what: str) -> None:
    """ValueError about the first weight whose shape differs; `stored` by path, `expected` as a tree of arrays."""
    wanted = traverse_util.flatten_dict(expected, sep="/")
    for name in sorted(set(wanted) | set(stored)):
        there = stored[name].shape if name in stored else "missing"
        here = wanted[name].shape if name in wanted else "unknown"
        if there != here:
            raise ValueError(f"{where}weight {name} is {there} in the file and {here} in {what}")


def describe_policy(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Where a policy file comes from: commit, agent_steps, seed."""
    source = PRETRAINED if str(path) == "pretrained" else Path(path)
    with h5py.File(source, "r") as file:
        return {name: file.attrs[name] for name in ("commit", "agent_steps", "seed")}


def _read(source: Path) -> tuple[TeacherConfig, dict[str, np.ndarray]]:
    try:
        with h5py.File(source, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise ValueError(
                    f"{source} is not a teacher policy: its format is {file.attrs.get('format')!r}"
                )
            if file.attrs.get("version") != VERSION:
                raise ValueError(
                    f"{source}: version {file.attrs.get('version')} of the policy format is unknown; expected {VERSION}"
                )
            config = from_dict(TeacherConfig, yaml.safe_load(file.attrs["config"]), str(source))
            stored: dict[str, np.ndarray] = {}
            file["params"].visititems(
                lambda name, item: stored.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
            return config, stored
    except (OSError, KeyError) as error:
        raise ValueError(f"{source} is not a readable teacher policy ({error})") from error
