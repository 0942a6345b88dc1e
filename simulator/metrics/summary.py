"""The figures every stage reports, defined once.

`agent_figures` holds what became of each agent; a figure is the mean over the agents that were placed. A rate is per
agent-episode: the share of agents to which the event happened at least once.

    progress         farthest point of the route / arc length of the last goal, in [0, 1]; 1 for agents that arrived
    driving_score    progress x 0.5^collisions x 0.65^departures x 0.7^red lights (the penalty factors of CARLA's
                     leaderboard, whose 0.8 per stop sign is left out: stop signs are reported beside it)
    goal_rate        share of agents that reached every goal of their route
    failure_rate     share of agents that collided or left the road (log-replay RL, arXiv 2312.15122)
    progress_ratio   metres of the logged path covered / metres the log covers, mean over agents whose log moves 3 m or
                     more; null without a log. The paper's is distance travelled over distance travelled
    km_per_incident  km driven / (collisions + departures); null while nothing happened

Where `SimulatorConfig.detailed_metrics` is on, else null (see `simulator.metrics.driving_quality` for the definitions):

    at_fault_collision_rate, yield_rate, ttc_violation_rate
    wrong_way_rate        share of agents that drove 2 m or more against the lanes within a second
    direction_compliance  1 below 2 m in the worst second, 0.5 below 6 m, else 0 (NAVSIM)
    comfort_rate          share of an agent's steps within nuPlan's comfort limits, from 1.5 s after its start on
"""

from dataclasses import asdict, dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from simulator.metrics.driving_quality import GROSS_WRONG_WAY_M, WRONG_WAY_M, Conduct
from simulator.state import WorldState

COLLISION_FACTOR, OFFROAD_FACTOR, RED_LIGHT_FACTOR = 0.5, 0.65, 0.7
LEAST_LOGGED_M = 3.0
"""Vehicles whose log is shorter count as parked and have no progress ratio."""

DETAILED = (
    "at_fault_collision_rate",
    "yield_rate",
    "wrong_way_rate",
    "direction_compliance",
    "ttc_violation_rate",
    "comfort_rate",
)
"""Figures that need detailed metrics."""


@dataclass(frozen=True)
class Metrics:
    """The flat object that every evaluation writes; None where a figure cannot be known."""

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
        """Plain numbers under the field names."""
        return asdict(self)


def arrived(state: WorldState) -> Bool[Array, "*worlds agents"]:
    """Agents that reached every goal of their route."""
    return jnp.asarray(state.goal_index) >= state.scenario.num_goals


def route_progress(state: WorldState) -> Float[Array, "*worlds agents"]:
    """Share of the way to the last goal, in [0, 1]; 1 for agents that arrived."""
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


def agent_figures(state: WorldState) -> dict[str, Float[Array, "*worlds agents"]]:
    """What became of each agent, by the names of `Metrics`; NaN where it cannot be known and in empty slots.

    ``state`` holds JAX or numpy arrays, of one world or of many.
    """
    collided, departed = jnp.asarray(state.collisions) > 0, jnp.asarray(state.offroads) > 0
    figures = {
        "driving_score": driving_scores(state),
        "goal_rate": arrived(state),
        "progress": route_progress(state),
        "collision_rate": collided,
        "offroad_rate": departed,
        "failure_rate": collided | departed,
        "red_light_rate": jnp.asarray(state.red_lights) > 0,
        "stop_sign_rate": jnp.asarray(state.stop_signs) > 0,
    }
    if state.conduct is not None:
        figures |= _detailed_figures(state.conduct)
    spawned = jnp.asarray(state.spawned)
    return {name: jnp.where(spawned, value.astype(jnp.float32), jnp.nan) for name, value in figures.items()}


def _detailed_figures(conduct: Conduct) -> dict[str, Array]:
    worst_m = jnp.asarray(conduct.worst_second_m)
    judged = jnp.asarray(conduct.judged_steps)
    comfort = conduct.comfortable_steps / jnp.maximum(judged, 1)
    return {
        "at_fault_collision_rate": jnp.asarray(conduct.at_fault) > 0,
        "yield_rate": jnp.asarray(conduct.failures_to_yield) > 0,
        "wrong_way_rate": worst_m >= WRONG_WAY_M,
        "direction_compliance": 1.0 - 0.5 * (worst_m >= WRONG_WAY_M) - 0.5 * (worst_m >= GROSS_WRONG_WAY_M),
        "ttc_violation_rate": jnp.asarray(conduct.soon_steps) > 0,
        "comfort_rate": jnp.where(judged > 0, comfort, jnp.nan),
    }


def progress_ratios(
    state: WorldState, logged_m: Float[Array, "*worlds agents"] | Float[np.ndarray, "*worlds agents"]
) -> Float[Array, "*worlds agents"]:
    """Metres of its logged path that each agent covered / ``logged_m``, the metres its log covers in the same time.

    The agent's route is its logged path. NaN in empty slots and where the log moves less than 3 m.
    """
    logged_m = jnp.asarray(logged_m)
    known = jnp.asarray(state.spawned) & (logged_m >= LEAST_LOGGED_M)
    return jnp.where(known, state.best_route_m / jnp.maximum(logged_m, LEAST_LOGGED_M), jnp.nan)


def summarise(
    final: WorldState,
    agent_steps: int,
    wall_s: float,
    logged_m: Float[Array, "*worlds agents"] | Float[np.ndarray, "*worlds agents"] | None = None,
) -> Metrics:
    """Metrics of finished episodes: ``final`` holds the last state of every world, fields [..., agents].

    ``agent_steps`` counts steps of active agents only. ``logged_m`` [..., agents] is how far each agent's log moves,
    where there is one. Raises ValueError when no agent was ever placed.
    """
    spawned = np.asarray(final.spawned)
    if not spawned.any():
        raise ValueError(
            "no agent was placed in any world, so there is nothing to summarise; lower num_agents"
        )
    figures = dict.fromkeys(DETAILED) | {name: _mean(value) for name, value in agent_figures(final).items()}
    incidents = int((np.asarray(final.collisions) + np.asarray(final.offroads))[spawned].sum())
    km = float(np.asarray(final.distance_m)[spawned].sum()) / 1000.0
    return Metrics(
        **figures,  # type: ignore[arg-type]
        progress_ratio=None if logged_m is None else _mean(progress_ratios(final, logged_m)),
        km_per_incident=km / incidents if incidents else None,
        agents=int(spawned.sum()),
        agent_steps=int(agent_steps),
        wall_s=float(wall_s),
    )


def _mean(values: Float[Array, "*worlds agents"]) -> float | None:
    """Mean of the known values; None where there are none."""
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean(dtype=np.float64)) if known.size else None
