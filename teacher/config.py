"""The configuration of a training run, and its conversion to and from plain dictionaries (YAML, HDF5).

Values are in configs/teacher/*.yaml. `NetworkConfig`, `PPOConfig`, `ObservationConfig`, `RewardConfig` and
`SimulatorConfig` are documented where they are used.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import yaml

from gigapixel.run_folder.config.finite import refuse_not_finite
from gigapixel.run_folder.config.nearest import did_you_mean
from gigapixel.run_folder.config.value_types import described, fits
from gigapixel.run_folder.config.yaml_file import read_mapping
from simulator.config import SimulatorConfig
from teacher.network.actor_critic import NetworkConfig
from teacher.observation.observe import ObservationConfig
from teacher.ppo.log_config import LogConfig
from teacher.ppo.losses import PPOConfig
from teacher.pretraining.config import PretrainConfig
from teacher.reward import RewardConfig

Config = TypeVar("Config")

REMOVED_OPTIONS: dict[str, dict[str, object]] = {
    "ReplayConfig": {"freeze_parked": False, "start_step": 0},
}
"""Options that earlier versions had, by configuration class, with the default that they had. Stored configurations name
them; `from_dict` ignores them at that value and rejects any other."""


@dataclass(frozen=True)
class TeacherConfig:
    """One training run.

    Attributes:
        name: the run's folder is `output/name`.
        output: folder of all teacher runs.
        maps: towns to drive in; each world draws one at every reset.
        num_worlds: parallel worlds; each holds `simulator.num_agents` agents.
        total_agent_steps: agent-steps after which the run ends, and over which the learning rate decays.
        seed: of weights, worlds and actions.
        checkpoint_every: updates between two checkpoints.
        keep_checkpoints: how many of the newest checkpoints are kept on disk.
        reset_chunk: worlds that are reset at a time.
        num_shards: equal parts into which worlds and minibatches are split (see `teacher.ppo.sharding`). The result
            depends on it, and not on the number of devices, which must divide it.
        start_from: policy file, or `pretrained`, with the initial weights of a new run; empty for random weights.
        logs: recorded traffic to train in, instead of `maps` or beside them.
        pretrain: imitation of recorded drivers before the first update.
        simulator: Traffic, episodes and resets.
        observation: Numbers of observed objects and their ranges.
        reward: Reward weights and conditioning ranges.
        network: Actor-critic architecture.
        ppo: PPO's hyper-parameters.
    """

    name: str = "base"
    output: str = "runs/teacher"
    maps: tuple[str, ...] = ("Town01", "Town02", "Town03", "Town04", "Town05")
    num_worlds: int = 32
    total_agent_steps: int = 100_000_000
    seed: int = 0
    checkpoint_every: int = 20
    keep_checkpoints: int = 2
    reset_chunk: int = 4
    num_shards: int = 1
    start_from: str = ""
    logs: LogConfig = field(default_factory=LogConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    simulator: SimulatorConfig = field(default_factory=SimulatorConfig)
    observation: ObservationConfig = field(default_factory=ObservationConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)

    def __post_init__(self) -> None:
        refuse_not_finite(self, "teacher configuration")
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise ValueError(f"name={self.name!r} must be a plain folder name, such as 'cpu'")
        if isinstance(self.maps, str) or not self.maps:
            raise ValueError(f"maps={self.maps!r} must list at least one town, such as [Town01]")
        for name in (
            "num_worlds",
            "total_agent_steps",
            "checkpoint_every",
            "keep_checkpoints",
            "reset_chunk",
            "num_shards",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed} must lie between 0 and 2^32 - 1")
        if self.num_worlds % self.num_shards:
            raise ValueError(
                f"num_worlds={self.num_worlds} must be a multiple of num_shards={self.num_shards}; "
                f"try {-(-self.num_worlds // self.num_shards) * self.num_shards}"
            )
        only_logs = self.logs.packs and self.logs.town_share == 0
        if only_logs and self.num_worlds % self.logs.num_scenes:
            raise ValueError(
                f"num_worlds={self.num_worlds} must be a multiple of logs.num_scenes={self.logs.num_scenes}"
            )
        if only_logs and self.simulator.map_variants > 1:
            raise ValueError(
                f"simulator.map_variants={self.simulator.map_variants} must be 1 in recorded traffic: "
                "its tracks fit the map as it is"
            )
        self.ppo.kept_samples(self.samples_per_update, self.num_shards)

    @property
    def samples_per_update(self) -> int:
        """Agent slots x steps of one rollout, including slots of inactive agents (which are no agent-steps)."""
        return self.num_worlds * self.simulator.num_agents * self.ppo.rollout_steps

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.output) / self.name


@runtime_checkable
class DataclassInstance(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def to_dict(config: DataclassInstance) -> dict[str, Any]:
    """The fields of a dataclass as nested dictionaries, lists and scalars, as YAML can store them."""
    return {name: _plain(value) for name, value in dataclasses.asdict(config).items()}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def to_yaml(config: DataclassInstance) -> str:
    """The configuration as YAML, in the order of its fields."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def from_dict(kind: type[Config], values: object, source: str) -> Config:
    """A configuration from `to_dict`'s output; missing keys take their default.

    Raises ValueError for unknown keys (but see REMOVED_OPTIONS), for numbers that are not finite and for values that
    the configuration rejects; ``source`` names the file in the message.
    """
    if not isinstance(values, dict):
        raise ValueError(
            f"{source}: expected a mapping with the fields of {kind.__name__}, found {repr(values)[:60]}"
        )
    refuse_not_finite(values, source)
    hints = typing.get_type_hints(kind)
    known = [entry.name for entry in dataclasses.fields(kind)]  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        removed = REMOVED_OPTIONS.get(kind.__name__, {})
        if key in removed:
            if value != removed[key]:
                raise ValueError(
                    f"{source}: {key}={value!r} of {kind.__name__} is no longer supported; expected {removed[key]!r}"
                )
            continue
        if key not in known:
            raise ValueError(
                f"{source}: unknown key {key!r} in {kind.__name__}; known keys: {', '.join(known)}"
                f"{did_you_mean(str(key), known)}"
            )
        if dataclasses.is_dataclass(hints[key]):
            arguments[key] = from_dict(hints[key], value, source)  # type: ignore[type-var]
        else:
            arguments[key] = _plain_value(value, hints[key])
    try:
        config = kind(**arguments)
    except TypeError as error:
        _refuse_other_types(kind, arguments, hints, source)  # which says more
        raise ValueError(f"{source}: a value of {kind.__name__} has the wrong type ({error})") from error
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    _refuse_other_types(kind, arguments, hints, source)
    return config


def _plain_value(value: object, hint: object) -> object:
    """A value of a YAML file as a configuration holds it: lists as tuples; 1e6 as a whole number where one is due."""
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return tuple(value) if isinstance(value, list) else value


def _refuse_other_types(kind: type, arguments: dict[str, Any], hints: dict[str, Any], source: str) -> None:
    """Raises ValueError that names the first value which is not of its field's type."""
    for name, value in arguments.items():
        if not dataclasses.is_dataclass(hints[name]) and not fits(value, hints[name]):
            shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
            raise ValueError(f"{source}: {name}={shown} of {kind.__name__} must be {described(hints[name])}")


def load_config(path: Path) -> TeacherConfig:
    """The configuration in a YAML file, such as a run folder's config.yaml."""
    return from_dict(TeacherConfig, read_mapping(path), str(path))
