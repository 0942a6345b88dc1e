"""The figures every stage reports, defined once.

A rate is per agent-episode: the share of agents to which the event happened at least once.

    progress         farthest point of the route / arc length of the last goal, in [0, 1]
    driving_score    mean over agents of progress x 0.5^collisions x 0.65^departures x 0.7^red lights
                     (the penalty factors of CARLA's leaderboard)
    goal_rate        share of agents that reached every goal of their route
    km_per_incident  km driven / (collisions + departures); null while nothing happened
"""

from dataclasses import asdict, dataclass

import numpy as np

from simulator.world import WorldState

COLLISION_FACTOR, OFFROAD_FACTOR, RED_LIGHT_FACTOR = 0.5, 0.65, 0.7


@dataclass(frozen=True)
class Metrics:
    """The flat object that every evaluation writes."""

    driving_score: float
    goal_rate: float
    collision_rate: float
    offroad_rate: float
    red_light_rate: float
    km_per_incident: float | None
    agents: int
    agent_steps: int
    wall_s: float

    def to_json(self) -> dict[str, float | int | None]:
        """Plain numbers under the field names."""
        return asdict(self)


def route_progress(state: WorldState) -> np.ndarray:
    """Share of the way to the last goal, [..., agents] in [0, 1]; 1 for agents that arrived."""
    scenario = state.scenario
    goal_m, num_goals = np.asarray(scenario.goal_m), np.asarray(scenario.num_goals)
    last = np.maximum(num_goals - 1, 0)[..., None]
    end = np.take_along_axis(goal_m, last, axis=-1)[..., 0]
    progress = np.clip(np.asarray(state.best_route_m) / np.maximum(end, 1e-3), 0.0, 1.0)
    return np.where(np.asarray(state.goal_index) >= num_goals, 1.0, progress)


def driving_scores(state: WorldState) -> np.ndarray:
    """Driving score of every agent, [..., agents]; an agent that never moved scores 0."""
    penalty = (
        COLLISION_FACTOR ** np.asarray(state.collisions)
        * OFFROAD_FACTOR ** np.asarray(state.offroads)
        * RED_LIGHT_FACTOR ** np.asarray(state.red_lights)
    )
    moved = np.asarray(state.distance_m) > 0.1
    return route_progress(state) * penalty * moved


def summarise(final: WorldState, agent_steps: int, wall_s: float) -> Metrics:
    """Metrics of finished episodes: ``final`` holds the last state of every world, fields [..., agents].

    ``agent_steps`` counts steps of active agents only. Raises ValueError when no agent was ever placed.
    """
    spawned = np.asarray(final.spawned)
    if not spawned.any():
        raise ValueError(
            "no agent was placed in any world, so there is nothing to summarise; lower num_agents"
        )
    collisions = np.asarray(final.collisions)[spawned]
    offroads = np.asarray(final.offroads)[spawned]
    incidents = int(collisions.sum() + offroads.sum())
    km = float(np.asarray(final.distance_m)[spawned].sum()) / 1000.0
    arrived = np.asarray(final.goal_index) >= np.asarray(final.scenario.num_goals)
    return Metrics(
        driving_score=float(driving_scores(final)[spawned].mean()),
        goal_rate=float(arrived[spawned].mean()),
        collision_rate=float((collisions > 0).mean()),
        offroad_rate=float((offroads > 0).mean()),
        red_light_rate=float((np.asarray(final.red_lights)[spawned] > 0).mean()),
        km_per_incident=km / incidents if incidents else None,
        agents=int(spawned.sum()),
        agent_steps=int(agent_steps),
        wall_s=float(wall_s),
    )
