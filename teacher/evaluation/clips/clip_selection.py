"""Which agent-episodes are worth looking at: the best and the worst, and the event that each of them is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.metrics.summary import agent_figures, arrived
from teacher.evaluation.episodes import Episodes

BEFORE_S, AFTER_S = 9.0, 2.0
"""How much of an episode is shown before its event and after it."""
JOURNEY_S = 16.0
"""The same before the arrival of a good one."""
COLLISION, OFFROAD, RED_LIGHT, ARRIVAL, UNFINISHED = (
    "collision",
    "off the road",
    "red light",
    "arrived",
    "not arrived",
)


@dataclass(frozen=True)
class Clip:
    """A piece of one agent's episode, and what it is about."""

    episodes: Episodes
    world: int
    agent: int
    event: str
    at_fault: bool
    event_step: int  # the instant at which it has happened
    first_step: int
    last_step: int
    driving_score: float

    @property
    def outcome(self) -> str:
        """The event in words."""
        return f"{self.event}, to blame" if self.event == COLLISION and self.at_fault else self.event

    @property
    def place(self) -> str:
        """Name of the town or of the recorded scene."""
        return self.episodes.names[int(self.episodes.final.map_id[self.world])]


def chosen_clips(parts: Sequence[Episodes], count: int) -> tuple[list[Clip], list[Clip]]:
    """The ``count`` best and the ``count`` worst agent-episodes, best and worst first.

    The worst are those with a collision to blame for, then other collisions and departures, then red lights, then the
    rest; within each, those with the lowest driving score. The best are without any of these, arrived, and drove
    farthest. One of a world, so that two agents of one crash are not shown twice.
    """
    best, worst = [], []
    for part in parts:
        final = part.final
        figures = {name: np.asarray(value) for name, value in agent_figures(final).items()}
        collided, departed = figures["collision_rate"] > 0, figures["offroad_rate"] > 0
        score, ran_red = figures["driving_score"], figures["red_light_rate"] > 0
        blamed = figures.get("at_fault_collision_rate", np.zeros_like(score)) > 0
        failed = collided | departed
        harm = np.select([blamed, failed, ran_red], [0, 1, 2], 3)
        good = np.asarray(arrived(final)) & ~failed & ~ran_red
        driven_m = np.asarray(final.distance_m)
        for world, agent in np.argwhere(np.asarray(final.spawned)):
            place = (part, int(world), int(agent))
            worst.append(((int(harm[world, agent]), float(score[world, agent])), place))
            if good[world, agent]:
                best.append(((-float(driven_m[world, agent]),), place))
    return _first_of_worlds(best, count), _first_of_worlds(worst, count)


def _first_of_worlds(ranked: list, count: int) -> list[Clip]:
    """Clips of the first ``count`` (rank, (episodes, world, agent)), worlds that have one already last."""
    ranked = sorted(ranked, key=lambda entry: entry[0])
    seen: set[tuple[int, int]] = set()
    first, later = [], []
    for _, (part, world, agent) in ranked:
        (later if (id(part), world) in seen else first).append((part, world, agent))
        seen.add((id(part), world))
    return [clip_of(*place) for place in (first + later)[:count]]


def clip_of(episodes: Episodes, world: int, agent: int) -> Clip:
    """The piece of an agent's episode around its event: the collision or departure that ended it, else the first red
    light, else the arrival, else the end. Raises ValueError for episodes that were driven without instants."""
    instants = episodes.instants
    if instants is None:
        raise ValueError("these episodes were driven without instants, so there is nothing to show of them")
    count = len(instants.yaw)
    goals = int(episodes.final.scenario.num_goals[world, agent])
    happened = {
        COLLISION: np.asarray(instants.collisions)[:, world, agent] > 0,
        OFFROAD: np.asarray(instants.offroads)[:, world, agent] > 0,
        RED_LIGHT: np.asarray(instants.red_lights)[:, world, agent] > 0,
        ARRIVAL: np.asarray(instants.goal_index)[:, world, agent] >= goals,
    }
    end = min(int(episodes.final.step[world]), count - 1)
    event, step = UNFINISHED, end
    for name, mask in happened.items():
        if mask.any():
            event, step = name, int(mask.argmax())
            break
    timestep_s = episodes.config.timestep_s
    before_s = JOURNEY_S if event == ARRIVAL else BEFORE_S
    conduct = episodes.final.conduct
    score = agent_figures(episodes.final)["driving_score"]
    return Clip(
        episodes=episodes,
        world=world,
        agent=agent,
        event=event,
        at_fault=conduct is not None and int(conduct.at_fault[world, agent]) > 0,
        event_step=step,
        first_step=max(0, step - round(before_s / timestep_s)),
        last_step=min(end, step + round(AFTER_S / timestep_s)),
        driving_score=float(score[world, agent]),
    )
