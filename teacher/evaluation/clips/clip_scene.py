"""What a film of one agent-episode is made from: the map around its path, who is who, the lights, and who is where."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from simulator.atlas.affine_variants import varied_map
from simulator.config import ROUTE_SPACING_M
from simulator.draw_state import world_of
from simulator.drawing.top_down import draw_map
from simulator.drawing.viewport import Colour, View
from simulator.roads.road_map import RoadMap
from simulator.state import IDM, LOG, NO_NOISE, PARKED, POLICY, WorldState
from simulator.traffic_lights import light_states
from teacher.evaluation.clips.clip_selection import Clip

COLOURS: dict[str, Colour] = {
    "this agent": (255, 205, 40),
    "same driver": (96, 165, 250),
    "IDM": (45, 212, 191),
    "log": (226, 232, 240),
    "standing": (128, 138, 152),
    "blind or braking": (192, 132, 252),
}
"""Whom the colours stand for, in the order of the legend."""


def roles_of(state: WorldState, agent: int) -> Int[np.ndarray, " agents"]:
    """Index into COLOURS for every agent of one world, of which ``agent`` is followed."""
    control, noise = np.asarray(state.scenario.control), np.asarray(state.scenario.noise)
    role = np.select([control == IDM, control == LOG, control == PARKED], [2, 3, 4], 1)
    role = np.where((control == POLICY) & (noise != NO_NOISE), 5, role)
    role[agent] = 0
    return role


class Stage:
    """A clip's world, ready to be drawn at any of its instants, ``size_px`` pixels for ``extent_m`` metres."""

    def __init__(self, clip: Clip, size_px: int, extent_m: float) -> None:
        part = clip.episodes
        assert part.states is not None
        self.clip, self.size_px, self.states = clip, size_px, part.states
        self.state = world_of(part.final, clip.world)
        self.road_map = self._map(part.road_maps[int(self.state.map_id)])
        self.role = roles_of(self.state, clip.agent)
        steps = slice(clip.first_step, clip.last_step + 1)
        path = self.states.position[steps, clip.world, clip.agent, :2]
        self._lights = self._light_states(np.arange(clip.first_step, clip.last_step + 1, dtype=np.int32))
        scale = size_px / extent_m
        middle, span = (path.min(0) + path.max(0)) / 2, np.ptp(path, axis=0) + extent_m + 2.0
        width, height = (int(np.ceil(side * scale)) for side in span)
        around: dict[str, Any] = {"centre": middle, "extent_m": width / scale, "size_px": (width, height)}
        self._wide = View.of(self.road_map, **around)
        self._background = draw_map(self.road_map, **around, stop_lines=False, scale_bar=False)

    def _map(self, road_map: RoadMap) -> RoadMap:
        if self.clip.episodes.config.map_variants == 1:
            return road_map
        return varied_map(road_map, np.asarray(self.state.scenario.map_matrix))

    def _light_states(self, steps: Int[np.ndarray, " steps"]) -> Int[np.ndarray, "steps stops"]:
        atlas, config = self.clip.episodes.atlas, self.clip.episodes.config
        first, count = (
            int(values[self.state.map_id]) for values in (atlas.map_stop_start, atlas.map_stop_count)
        )
        if count == 0:
            return np.zeros((len(steps), 0), np.int32)
        state = jax.tree.map(jnp.asarray, self.state)
        stops = jnp.arange(first, first + count, dtype=jnp.int32)
        ask = jax.vmap(lambda step: light_states(state.replace(step=step), stops, atlas, config))
        return np.asarray(ask(jnp.asarray(steps)))

    def window(self, centre: Float[np.ndarray, " 2"]) -> tuple[View, Image.Image]:
        """The view around ``centre`` (m), moved to whole pixels of the map's picture, and its cut-out."""
        wide, size = self._wide, self.size_px
        left = round((float(centre[0]) - wide.left_m) * wide.scale - size / 2)
        top = round((wide.top_m - float(centre[1])) * wide.scale - size / 2)
        view = View(wide.left_m + left / wide.scale, wide.top_m - top / wide.scale, wide.scale, size, size)
        return view, self._background.crop((left, top, left + size, top + size))

    def agents(self, step: int, share: float) -> dict[str, np.ndarray]:
        """Everybody ``share`` of the way from instant ``step`` to the next, as `simulator.drawing.top_down` wants them.

        Besides: speed [agents] m/s and route_m [agents] m. Who appears or vanishes is not seen to glide.
        """
        after = min(step + 1, len(self.states.yaw) - 1)
        here, there = (
            {name: getattr(self.states, name)[at, self.clip.world] for name in self.states._fields}
            for at in (step, after)
        )
        move = np.where(here["present"] & there["present"], share, 0.0)
        turn = np.angle(np.exp(1j * (there["yaw"] - here["yaw"])))
        driven = np.asarray(self.state.scenario.control) == POLICY
        driven &= self.role > 0  # the followed one stays bright; the film marks it
        return {
            "position": here["position"] + move[:, None] * (there["position"] - here["position"]),
            "yaw": here["yaw"] + move * turn,
            "speed": here["speed"] + move * (there["speed"] - here["speed"]),
            "route_m": here["route_m"] + move * (there["route_m"] - here["route_m"]),
            "size": np.asarray(self.state.scenario.size),
            "present": self._shown(here["present"], step),
            "crashed": here["present"] & ~here["active"] & driven,
            "colour": np.array(list(COLOURS.values()))[self.role],
        }

    def _shown(self, present: Bool[np.ndarray, " agents"], step: int) -> Bool[np.ndarray, " agents"]:
        """Who is there; who arrives is seen at its goal once more."""
        shown = present.copy()
        shown[self.clip.agent] |= step == self.clip.event_step
        return shown

    def lights(self, step: int) -> Int[np.ndarray, " stops"]:
        """State of every stop line at an instant."""
        return self._lights[step - self.clip.first_step]

    def goals_ahead(self, step: int) -> tuple[Float[np.ndarray, "goals 2"], float, float]:
        """Places (m) of the goals that the agent has not reached at an instant, their radius (m), and how far along its
        route (m) the last one lies."""
        scenario, agent = self.state.scenario, self.clip.agent
        goal_m = np.asarray(scenario.goal_m)[agent, : int(scenario.num_goals[agent])]
        left = goal_m[int(self.states.goal_index[step, self.clip.world, agent]) :]
        return self._route_at(left), float(scenario.goal_radius_m[agent]), float(goal_m[-1])

    def route_ahead(self, from_m: float, to_m: float) -> Float[np.ndarray, "points 2"]:
        """The agent's route between two arc lengths (m), a metre apart."""
        return self._route_at(np.arange(from_m, max(to_m, from_m + 0.1), 1.0))

    def _route_at(self, along_m: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
        route = np.asarray(self.state.scenario.route)[self.clip.agent, :, :2]
        stations = ROUTE_SPACING_M * np.arange(len(route))
        return np.stack([np.interp(along_m, stations, route[:, axis]) for axis in range(2)], axis=-1)
