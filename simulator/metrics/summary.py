"""The metrics that training, evaluation, the student and the report share.

`agent_metrics` gives them per agent; `summarise` averages over the agents that were placed. A rate is per
agent-episode: the share of agents to which the event happened at least once.

    progress         farthest point of the route / arc length of the last goal, in [0, 1]; 1 for agents that arrived
    driving_score    progress x 0.5^collisions x 0.65^off-road events x 0.7^red lights (the penalty factors of CARLA's
                     leaderboard; its 0.8 per stop sign is left out, stop signs are reported separately)
    goal_rate        share of agents that reached every goal of their route
    failure_rate     share of agents that collided or left the road (log-replay RL, arXiv 2312.15122)
    progress_ratio   metres of the logged path covered / metres the log covers, mean over agents whose log moves 3 m or
                     more; null without a log. The paper (arXiv 2312.15122) divides distances travelled
    km_per_incident  km driven / (collisions + off-road events); null without such an event

Where `SimulatorConfig.detailed_metrics` is on, else null (see `simulator.metrics.driving_quality` for the definitions):

    at_fault_collision_rate, yield_rate, ttc_violation_rate
    wrong_way_rate        share of agents that drove 2 m or more against the lanes within a second
    direction_compliance  1 below 2 m in the worst second, 0.5 below 6 m, else 0 (NAVSIM)
    comfort_rate          share of an agent's steps within nuPlan's comfort limits, from 1.5 s after its start on
"""

from dataclasses import asdict, dataclass

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

from simulator.array_field import ArrayField
from simulator.metrics.driving_quality import GROSS_WRONG_WAY_M, WRONG_WAY_M, DrivingQuality
from simulator.state import WorldState

COLLISION_FACTOR, OFFROAD_FACTOR, RED_LIGHT_FACTOR = 0.5, 0.65, 0.7
LEAST_LOGGED_M = 3.0
"""Agents whose log moves less have no progress ratio."""

DETAILED_METRICS = (
    "at_fault_collision_rate",
    "yield_rate",
    "wrong_way_rate",
    "direction_compliance",
    "ttc_violation_rate",
    "comfort_rate",
)
"""Metrics that need `SimulatorConfig.detailed_metrics`."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of an evaluation; None where a metric is not observable."""

    driving_score: float
    goal_rate: float
    progress: float
    progress_ratio: float | None
    collision_rate: float
    offroad_rate: float
    failure_rate: float
    red_light_rate: float
    stop_sign_rate: float
    at_fault_collision_rate: float | None
    yield_rate: float | None
    wrong_way_rate: float | None
    direction_compliance: float | None
    ttc_violation_rate: float | None
    comfort_rate: float | None
    km_per_incident: float | None
    agents: int
    agent_steps: int
    wall_s: float

    def to_json(self) -> dict[str, float | int | None]:
        """The metrics by field name, for a JSON object."""
        return asdict(self)


def arrived(state: WorldState) -> Bool[Array, "*worlds agents"]:
    """Agents that reached every goal of their route."""
    return jnp.asarray(state.goal_index) >= state.scenario.num_goals


def route_progress(state: WorldState) -> Float[Array, "*worlds agents"]:
    """Share of the route up to the last goal, in [0, 1]; 1 for agents that arrived."""
    goal_m, num_goals = jnp.asarray(state.scenario.goal_m), state.scenario.num_goals
    last = jnp.maximum(num_goals - 1, 0)[..., None]
    end = jnp.take_along_axis(goal_m, last, axis=-1)[..., 0]
    progress = jnp.clip(state.best_route_m / jnp.maximum(end, 1e-3), 0.0, 1.0)
    return jnp.where(arrived(state), 1.0, progress)


def driving_scores(state: WorldState) -> Float[Array, "*worlds agents"]:
    """Driving score of every agent; one that never moved scores 0."""
    penalty = (
        COLLISION_FACTOR ** jnp.asarray(state.collisions)
        * OFFROAD_FACTOR ** jnp.asarray(state.offroads)
        * RED_LIGHT_FACTOR ** jnp.asarray(state.red_lights)
    )
    return route_progress(state) * penalty * (jnp.asarray(state.distance_m) > 0.1)


@struct.dataclass
class AgentMetric:
    """One metric of every agent, and where it is known; leaves [*worlds, agents]."""

    value: ArrayField  # f32
    known: ArrayField  # bool; False in empty slots and where the metric is not observable

    def or_nan(self) -> Float[Array, "*worlds agents"]:
        """The values, NaN where they are not known."""
        return jnp.where(self.known, self.value, jnp.nan)


def agent_metrics(state: WorldState) -> dict[str, AgentMetric]:
    """The metrics of each agent, by the names of `Metrics`.

    ``state`` holds JAX or numpy arrays, of one world or of many.
    """
    collided, off_road = jnp.asarray(state.collisions) > 0, jnp.asarray(state.offroads) > 0
    values = {
        "driving_score": driving_scores(state),
        "goal_rate": arrived(state),
        "progress": route_progress(state),
        "collision_rate": collided,
        "offroad_rate": off_road,
        "failure_rate": collided | off_road,
        "red_light_rate": jnp.asarray(state.red_lights) > 0,
        "stop_sign_rate": jnp.asarray(state.stop_signs) > 0,
    }
    placed = jnp.asarray(state.spawned)
    known = dict.fromkeys(values, placed)
    if state.driving_quality is not None:
        detailed = _detailed_values(state.driving_quality)
        values |= detailed
        known |= dict.fromkeys(detailed, placed)
        known["comfort_rate"] = placed & (jnp.asarray(state.driving_quality.judged_steps) > 0)
    return {name: AgentMetric(value.astype(jnp.float32), known[name]) for name, value in values.items()}


def _detailed_values(quality: DrivingQuality) -> dict[str, Array]:
    """The metrics of DETAILED_METRICS; comfort_rate is 0 for agents that were never evaluated for comfort."""
    worst_m = jnp.asarray(quality.worst_second_m)
    return {
        "at_fault_collision_rate": jnp.asarray(quality.at_fault) > 0,
        "yield_rate": jnp.asarray(quality.failures_to_yield) > 0,
        "wrong_way_rate": worst_m >= WRONG_WAY_M,
        "direction_compliance": 1.0 - 0.5 * (worst_m >= WRONG_WAY_M) - 0.5 * (worst_m >= GROSS_WRONG_WAY_M),
        "ttc_violation_rate": jnp.asarray(quality.ttc_violation_steps) > 0,
        "comfort_rate": quality.comfortable_steps / jnp.maximum(jnp.asarray(quality.judged_steps), 1),
    }


def progress_ratios(
    state: WorldState, logged_m: Float[Array, "*worlds agents"] | Float[np.ndarray, "*worlds agents"]
) -> AgentMetric:
    """Metres of its logged path that each agent covered / ``logged_m``, the metres its log covers in the same time.

    The agent's route is its logged path. Not known in empty slots and where the log moves less than LEAST_LOGGED_M.
    """
    logged_m = jnp.asarray(logged_m)
    known = jnp.asarray(state.spawned) & (logged_m >= LEAST_LOGGED_M)
    return AgentMetric(state.best_route_m / jnp.maximum(logged_m, LEAST_LOGGED_M), known)


def summarise(
    final: WorldState,
    agent_steps: int,
    wall_s: float,
    logged_m: Float[Array, "*worlds agents"] | Float[np.ndarray, "*worlds agents"] | None = None,
) -> Metrics:
    """Metrics of finished episodes, averaged over the agents that were placed.

    ``final`` holds the last state of every world, fields [..., agents]. ``agent_steps`` counts steps of active agents
    only. ``logged_m`` [..., agents] is the distance (m) that each agent's log covers, None without logs. Raises
    ValueError when no agent was ever placed.
    """
    placed = np.asarray(final.spawned)
    if not placed.any():
        raise ValueError(
            "no agent was placed in any world, so there is nothing to summarise; lower num_agents, or use a map with "
            "more road outside junctions"
        )
    means = dict.fromkeys(DETAILED_METRICS) | {name: _mean(one) for name, one in agent_metrics(final).items()}
    incidents = int((np.asarray(final.collisions) + np.asarray(final.offroads))[placed].sum())
    km = float(np.asarray(final.distance_m)[placed].sum()) / 1000.0
    return Metrics(
        **means,  # type: ignore[arg-type]
        progress_ratio=None if logged_m is None else _mean(progress_ratios(final, logged_m)),
        km_per_incident=km / incidents if incidents else None,
        agents=int(placed.sum()),
        agent_steps=int(agent_steps),
        wall_s=float(wall_s),
    )


def _mean(metric: AgentMetric) -> float | None:
    """Mean over the agents whose metric is known; None where there are none."""
    known = np.asarray(metric.value)[np.asarray(metric.known)]
    return float(known.mean(dtype=np.float64)) if known.size else None
