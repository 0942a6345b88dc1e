"""What a clip of one agent-episode is drawn from: the map around its path, controllers, traffic lights and poses."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from simulator.atlas.affine_variants import variant_map
from simulator.config import ROUTE_SPACING_M
from simulator.draw_state import world_of
from simulator.drawing.top_down import draw_map
from simulator.drawing.viewport import Colour, Viewport
from simulator.roads.road_map import RoadMap
from simulator.state import IDM, LOG, NO_FAULT, PARKED, POLICY, WorldState
from simulator.traffic_lights import light_states
from teacher.evaluation.clips.clip_selection import Clip

AGENT_COLOURS: dict[str, Colour] = {
    "this agent": (255, 205, 40),
    "same driver": (96, 165, 250),
    "IDM": (45, 212, 191),
    "log": (226, 232, 240),
    "parked": (128, 138, 152),
    "faulty": (192, 132, 252),
}
"""Colour of agents by controller, in the order of the legend."""


def colour_index(state: WorldState, agent: int) -> Int[np.ndarray, " agents"]:
    """Index into AGENT_COLOURS for every agent of one world; ``agent`` is the one that the clip shows."""
    control, fault = np.asarray(state.scenario.control), np.asarray(state.scenario.fault)
    index = np.select([control == IDM, control == LOG, control == PARKED], [2, 3, 4], 1)
    index = np.where((control == POLICY) & (fault != NO_FAULT), 5, index)
    index[agent] = 0
    return index


class ClipScene:
    """The world of a clip, to be drawn at any step in a window of ``size_px`` pixels and ``extent_m`` metres."""

    def __init__(self, clip: Clip, size_px: int, extent_m: float) -> None:
        part = clip.episodes
        assert part.states is not None
        self.clip, self.size_px, self.states = clip, size_px, part.states
        self.state = world_of(part.final, clip.world)
        self.road_map = self._variant_of(part.road_maps[int(self.state.map_id)])
        self.colour_index = colour_index(self.state, clip.agent)
        steps = slice(clip.first_step, clip.last_step + 1)
        path = self.states.position[steps, clip.world, clip.agent, :2]
        self._lights = self._light_states(np.arange(clip.first_step, clip.last_step + 1, dtype=np.int32))
        scale = size_px / extent_m
        middle, span = (path.min(0) + path.max(0)) / 2, np.ptp(path, axis=0) + extent_m + 2.0
        width, height = (int(np.ceil(side * scale)) for side in span)
        around: dict[str, Any] = {"centre": middle, "extent_m": width / scale, "size_px": (width, height)}
        self._wide = Viewport.of(self.road_map, **around)
        self._background = draw_map(self.road_map, **around, stop_lines=False, scale_bar=False)

    def _variant_of(self, road_map: RoadMap) -> RoadMap:
        if self.clip.episodes.config.map_variants == 1:
            return road_map
        return variant_map(road_map, np.asarray(self.state.scenario.map_matrix))

    def _light_states(self, steps: Int[np.ndarray, " steps"]) -> Int[np.ndarray, "steps stops"]:
        atlas, config = self.clip.episodes.atlas, self.clip.episodes.config
        first, count = (
            int(values[self.state.map_id]) for values in (atlas.map_stop_start, atlas.map_stop_count)
        )
        if count == 0:
            return np.zeros((len(steps), 0), np.int32)
        state = jax.tree.map(jnp.asarray, self.state)
        stops = jnp.arange(first, first + count, dtype=jnp.int32)
        states_at = jax.vmap(lambda step: light_states(state.replace(step=step), stops, atlas, config))
        return np.asarray(states_at(jnp.asarray(steps)))

    def window(self, centre: Float[np.ndarray, " 2"]) -> tuple[Viewport, Image.Image]:
        """The viewport around ``centre`` (m), aligned to pixels of the map's image, and that part of the image."""
        wide, size = self._wide, self.size_px
        left = round((float(centre[0]) - wide.left_m) * wide.scale - size / 2)
        top = round((wide.top_m - float(centre[1])) * wide.scale - size / 2)
        view = Viewport(
            wide.left_m + left / wide.scale, wide.top_m - top / wide.scale, wide.scale, size, size
        )
        return view, self._background.crop((left, top, left + size, top + size))

    def agents(self, step: int, share: float) -> dict[str, np.ndarray]:
        """All agents at a fraction ``share`` of the time from ``step`` to the next step.

        Returns the arrays that `simulator.drawing.top_down.draw_world` takes, and speed [agents] m/s and route_m
        [agents] m. Agents that are absent at one of the steps are not interpolated.
        """
        after = min(step + 1, len(self.states.yaw) - 1)
        here, there = (
            {name: getattr(self.states, name)[at, self.clip.world] for name in self.states._fields}
            for at in (step, after)
        )
        move = np.where(here["present"] & there["present"], share, 0.0)
        turn = np.angle(np.exp(1j * (there["yaw"] - here["yaw"])))
        driven = np.asarray(self.state.scenario.control) == POLICY
        driven &= self.colour_index > 0  # the agent of the clip keeps its colour; it is marked
        return {
            "position": here["position"] + move[:, None] * (there["position"] - here["position"]),
            "yaw": here["yaw"] + move * turn,
            "speed": here["speed"] + move * (there["speed"] - here["speed"]),
            "route_m": here["route_m"] + move * (there["route_m"] - here["route_m"]),
            "size": np.asarray(self.state.scenario.size),
            "present": self._shown(here["present"], step),
            "crashed": here["present"] & ~here["active"] & driven,
            "colour": np.array(list(AGENT_COLOURS.values()))[self.colour_index],
        }

    def _shown(self, present: Bool[np.ndarray, " agents"], step: int) -> Bool[np.ndarray, " agents"]:
        """Present agents; the agent of the clip is also shown at the step of its event, at which it may be gone."""
        shown = present.copy()
        shown[self.clip.agent] |= step == self.clip.event_step
        return shown

    def lights(self, step: int) -> Int[np.ndarray, " stops"]:
        """State of every stop line at a step."""
        return self._lights[step - self.clip.first_step]

    def goals_ahead(self, step: int) -> tuple[Float[np.ndarray, "goals 2"], float, float]:
        """Positions (m) of the goals that the agent has not reached at a step, their radius (m), and the arc length
        (m) of the last goal on the route."""
        scenario, agent = self.state.scenario, self.clip.agent
        goal_m = np.asarray(scenario.goal_m)[agent, : int(scenario.num_goals[agent])]
        left = goal_m[int(self.states.goal_index[step, self.clip.world, agent]) :]
        return self._route_at(left), float(scenario.goal_radius_m[agent]), float(goal_m[-1])

    def route_ahead(self, from_m: float, to_m: float) -> Float[np.ndarray, "points 2"]:
        """Points of the agent's route between two arc lengths (m), 1 m apart."""
        return self._route_at(np.arange(from_m, max(to_m, from_m + 0.1), 1.0))

    def _route_at(self, along_m: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
        route = np.asarray(self.state.scenario.route)[self.clip.agent, :, :2]
        stations = ROUTE_SPACING_M * np.arange(len(route))
        return np.stack([np.interp(along_m, stations, route[:, axis]) for axis in range(2)], axis=-1)
