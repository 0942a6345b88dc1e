"""Selects agent-episodes to show: the best and the worst, and the event that each clip is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.metrics.summary import agent_metrics, arrived
from teacher.evaluation.episodes import Episodes

BEFORE_S, AFTER_S = 9.0, 2.0
"""Seconds shown before and after the event of a clip."""
BEFORE_ARRIVAL_S = 16.0
"""Seconds shown before the arrival in a successful episode."""
COLLISION, OFFROAD, RED_LIGHT, ARRIVAL, UNFINISHED = (
    "collision",
    "off the road",
    "red light",
    "arrived",
    "not arrived",
)


@dataclass(frozen=True)
class Clip:
    """A part of the episode of one agent, and the event in it."""

    episodes: Episodes
    world: int
    agent: int
    event: str
    at_fault: bool
    event_step: int  # the first step after the event
    first_step: int
    last_step: int
    driving_score: float

    @property
    def outcome(self) -> str:
        """The event in words."""
        return f"{self.event}, at fault" if self.event == COLLISION and self.at_fault else self.event

    @property
    def map_name(self) -> str:
        """Name of the town or of the logged scene."""
        return self.episodes.names[int(self.episodes.final.map_id[self.world])]


def select_clips(parts: Sequence[Episodes], count: int) -> tuple[list[Clip], list[Clip]]:
    """The ``count`` best and the ``count`` worst agent-episodes, best and worst first.

    The worst are those with an at-fault collision, then those with another collision or an off-road event, then those
    with a red light run, then the rest; within each group, those with the lowest driving score come first. The best
    arrived without any of these events and drove the longest distance. A second agent of the same world is taken only
    when there are too few worlds, so that a crash between two agents is not shown twice.
    """
    best, worst = [], []
    for part in parts:
        final = part.final
        figures = {name: np.asarray(metric.value) for name, metric in agent_metrics(final).items()}
        collided, left_road = figures["collision_rate"] > 0, figures["offroad_rate"] > 0
        score, ran_red = figures["driving_score"], figures["red_light_rate"] > 0
        blamed = figures.get("at_fault_collision_rate", np.zeros_like(score)) > 0
        failed = collided | left_road
        harm = np.select([blamed, failed, ran_red], [0, 1, 2], 3)
        good = np.asarray(arrived(final)) & ~failed & ~ran_red
        driven_m = np.asarray(final.distance_m)
        for world, agent in np.argwhere(np.asarray(final.spawned)):
            candidate = (part, int(world), int(agent))
            worst.append(((int(harm[world, agent]), float(score[world, agent])), candidate))
            if good[world, agent]:
                best.append(((-float(driven_m[world, agent]),), candidate))
    return _first_of_worlds(best, count), _first_of_worlds(worst, count)


def _first_of_worlds(ranked: list, count: int) -> list[Clip]:
    """Clips of the ``count`` lowest (rank, (episodes, world, agent)); the first of each world comes before others."""
    ranked = sorted(ranked, key=lambda entry: entry[0])
    seen: set[tuple[int, int]] = set()
    first, later = [], []
    for _, (part, world, agent) in ranked:
        (later if (id(part), world) in seen else first).append((part, world, agent))
        seen.add((id(part), world))
    return [make_clip(*candidate) for candidate in (first + later)[:count]]


def make_clip(episodes: Episodes, world: int, agent: int) -> Clip:
    """The part of an agent's episode around its event: the collision or off-road event that ended it, else the first
    red light run, else the arrival, else the end.

    Raises ValueError for episodes that were driven without recorded states.
    """
    states = episodes.states
    if states is None:
        raise ValueError(
            "these episodes were driven without recorded states; drive them with recorded states to make clips"
        )
    count = len(states.yaw)
    goals = int(episodes.final.scenario.num_goals[world, agent])
    happened = {
        COLLISION: np.asarray(states.collisions)[:, world, agent] > 0,
        OFFROAD: np.asarray(states.offroads)[:, world, agent] > 0,
        RED_LIGHT: np.asarray(states.red_lights)[:, world, agent] > 0,
        ARRIVAL: np.asarray(states.goal_index)[:, world, agent] >= goals,
    }
    end = min(int(episodes.final.step[world]), count - 1)
    event, step = UNFINISHED, end
    for name, mask in happened.items():
        if mask.any():
            event, step = name, int(mask.argmax())
            break
    timestep_s = episodes.config.timestep_s
    before_s = BEFORE_ARRIVAL_S if event == ARRIVAL else BEFORE_S
    quality = episodes.final.driving_quality
    score = agent_metrics(episodes.final)["driving_score"].value
    return Clip(
        episodes=episodes,
        world=world,
        agent=agent,
        event=event,
        at_fault=quality is not None and int(quality.at_fault[world, agent]) > 0,
        event_step=step,
        first_step=max(0, step - round(before_s / timestep_s)),
        last_step=min(end, step + round(AFTER_S / timestep_s)),
        driving_score=float(score[world, agent]),
    )
