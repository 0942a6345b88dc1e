"""Evaluation on maps: every agent has a route with three goals 40 to 80 m apart and `default_traits`.

There are no resets within an episode: agents that crashed stay where they are, as obstacles for the others.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
from jaxtyping import Array

from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.metrics.summary import summarise
from simulator.reset.placement import check_capacity
from simulator.roads.sources.map_cache import load_maps
from simulator.rollout import reset_worlds
from simulator.state import WorldState
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.episodes import EpisodeRunner, Episodes, with_default_traits
from teacher.evaluation.traffic import with_traffic
from teacher.policy import Policy

EVALUATION_GOALS = 3
EVALUATION_GOAL_SPACING_M = (40.0, 80.0)

Row = dict[str, float | int | None]


def evaluation_simulator(policy: Policy, num_agents: int, seconds: float) -> SimulatorConfig:
    """`Policy.plain_simulator` with the goals of evaluation: no affine map variants, every agent driven by a policy."""
    return dataclasses.replace(
        policy.plain_simulator,
        num_agents=num_agents,
        episode_s=seconds,
        num_goals=EVALUATION_GOALS,
        goal_spacing_m=EVALUATION_GOAL_SPACING_M,
    )


def start_worlds(key: Array, atlas: RoadAtlas, config: SimulatorConfig, num_worlds: int) -> WorldState:
    """Initial states in which all agents have `default_traits`. The key is consumed."""
    check_capacity(atlas, config.num_agents)
    return with_default_traits(
        jax.jit(partial(reset_worlds, config=config, num_worlds=num_worlds))(key, atlas)
    )


def town_simulator(policy: Policy, config: EvaluationConfig, traffic: str) -> SimulatorConfig:
    """The simulator of an evaluation on maps with this traffic, with detailed metrics."""
    plain = evaluation_simulator(policy, config.agents_per_world, config.town_seconds)
    return dataclasses.replace(with_traffic(plain, traffic, config.share), detailed_metrics=True)


def drive_towns(
    policy: Policy, config: EvaluationConfig, traffic: str, record_states: bool = False
) -> Episodes:
    """One episode in each of ``config.worlds`` worlds, which are distributed over the maps.

    Raises ValueError for more agents than a map holds.
    """
    atlas = load_atlas(config.maps)
    simulator = town_simulator(policy, config, traffic)
    reset_key, drive_key = jax.random.split(jax.random.key(config.seed))
    worlds = start_worlds(reset_key, atlas, simulator, config.worlds)
    run = EpisodeRunner(
        policy, config.driver, simulator, config.greedy, simulator.episode_steps, record_states
    )
    road_maps = tuple(load_maps(config.maps)) if record_states else ()
    return run(drive_key, worlds, atlas, road_maps, config.maps)


def metrics_per_town(final: WorldState, maps: Sequence[str]) -> dict[str, Row]:
    """Metrics by map, without agent_steps and wall_s; maps without an agent that counts have no row."""
    masks = {name: np.asarray(final.map_id) == index for index, name in enumerate(maps)}
    return metrics_by(final, masks)


def metrics_by(
    final: WorldState, masks: dict[str, np.ndarray], logged_m: np.ndarray | None = None
) -> dict[str, Row]:
    """Metrics of subsets of the worlds by name; ``masks`` holds a mask [worlds] for each."""
    rows: dict[str, Row] = {}
    for name, mask in masks.items():
        if np.asarray(final.spawned)[mask].any():
            part = jax.tree.map(lambda leaf, mask=mask: np.asarray(leaf)[mask], final)
            metrics = summarise(part, 0, 0.0, None if logged_m is None else logged_m[mask])
            values = metrics.to_json()
            rows[name] = {key: values[key] for key in values if key not in ("agent_steps", "wall_s")}
    return rows
