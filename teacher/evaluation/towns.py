"""Evaluation in towns: every agent gets a route with three goals 40 to 80 m apart and the careful driver's traits.

Nothing is reset within an episode; agents that crash stay where they are and those behind them must cope.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
from jaxtyping import Array

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.metrics.summary import summarise
from simulator.reset.spawn import check_capacity
from simulator.roads.map_cache import load_atlas, load_maps
from simulator.rollout import reset_worlds
from simulator.state import WorldState
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.episodes import Drive, Episodes, careful
from teacher.evaluation.traffic import in_traffic
from teacher.policy import Policy

EVALUATION_GOALS = 3
EVALUATION_GOAL_SPACING_M = (40.0, 80.0)

Row = dict[str, float | int | None]


def evaluation_simulator(policy: Policy, num_agents: int, seconds: float) -> SimulatorConfig:
    """The world the policy was trained in, but the towns as they are, evaluation's routes and nobody but drivers."""
    return dataclasses.replace(
        policy.plain_simulator,
        num_agents=num_agents,
        episode_s=seconds,
        num_goals=EVALUATION_GOALS,
        goal_spacing_m=EVALUATION_GOAL_SPACING_M,
    )


def start_worlds(key: Array, atlas: RoadAtlas, config: SimulatorConfig, num_worlds: int) -> WorldState:
    """Fresh worlds whose agents all have the careful driver's traits. The key is consumed."""
    check_capacity(atlas, config.num_agents)
    return careful(jax.jit(partial(reset_worlds, config=config, num_worlds=num_worlds))(key, atlas))


def town_simulator(policy: Policy, config: EvaluationConfig, traffic: str) -> SimulatorConfig:
    """The simulator of an evaluation in towns with this traffic, detailed metrics on."""
    plain = evaluation_simulator(policy, config.agents_per_world, config.town_seconds)
    return dataclasses.replace(in_traffic(plain, traffic, config.share), detailed_metrics=True)


def drive_towns(policy: Policy, config: EvaluationConfig, traffic: str, filmed: bool = False) -> Episodes:
    """One episode in each world, which are spread over the towns. Raises ValueError for more agents than a town
    holds."""
    atlas = load_atlas(config.maps)
    simulator = town_simulator(policy, config, traffic)
    reset_key, drive_key = jax.random.split(jax.random.key(config.seed))
    worlds = start_worlds(reset_key, atlas, simulator, config.worlds)
    drive = Drive(policy, config.driver, simulator, config.greedy, simulator.episode_steps, filmed)
    road_maps = tuple(load_maps(config.maps)) if filmed else ()
    return drive(drive_key, worlds, atlas, road_maps, config.maps)


def rates_per_town(final: WorldState, maps: Sequence[str]) -> dict[str, Row]:
    """All figures per town but for how long it took; towns without a counted agent have no row."""
    chosen = {name: np.asarray(final.map_id) == index for index, name in enumerate(maps)}
    return figures_by(final, chosen)


def figures_by(
    final: WorldState, chosen: dict[str, np.ndarray], logged_m: np.ndarray | None = None
) -> dict[str, Row]:
    """Figures of parts of the worlds by name; ``chosen`` holds a mask [worlds] for each."""
    rows: dict[str, Row] = {}
    for name, mask in chosen.items():
        if np.asarray(final.spawned)[mask].any():
            part = jax.tree.map(lambda leaf, mask=mask: np.asarray(leaf)[mask], final)
            metrics = summarise(part, 0, 0.0, None if logged_m is None else logged_m[mask])
            values = metrics.to_json()
            rows[name] = {key: values[key] for key in values if key not in ("agent_steps", "wall_s")}
    return rows
