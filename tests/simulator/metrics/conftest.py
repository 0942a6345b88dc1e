"""A hand-made crossing of two roads, turned by any angle, and worlds of a few agents placed on it by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.config import SimulatorConfig
from simulator.conventions import COAST
from simulator.roads.road_map import RoadMap, StopKind, pack_pieces, pad_indices
from simulator.state import Events, WorldState
from simulator.step import step
from tests.worlds import world_on_straight_routes

AGENTS = 4
LENGTH, WIDTH = 4.0, 2.0
HALF_M = 80.0  # of each road
LANE_M = 3.5

LANES = [
    ((-HALF_M, -1.75), (HALF_M, -1.75)),
    ((-HALF_M, -5.25), (HALF_M, -5.25)),
    ((HALF_M, 1.75), (-HALF_M, 1.75)),
    ((1.75, -HALF_M), (1.75, HALF_M)),
    ((-1.75, HALF_M), (-1.75, -HALF_M)),
]
STOPS = [
    ((-10.0, 0.0), (-10.0, -7.0), StopKind.STOP_SIGN),  # eastward
    ((10.0, 0.0), (10.0, 3.5), StopKind.TRAFFIC_LIGHT),  # westward
    ((0.0, -10.0), (3.5, -10.0), StopKind.TRAFFIC_LIGHT),  # northward, another phase
    ((0.0, 10.0), (-3.5, 10.0), StopKind.YIELD),  # southward
]

Agent = tuple[float, float, float, float]
"""x, y m, yaw rad, speed m/s."""


def crossing(angle: float) -> RoadMap:
    """The crossing, turned by ``angle`` about its middle."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def turned(points: Sequence[Sequence[float]]) -> np.ndarray:
        return np.column_stack([np.asarray(points, float) @ turn.T, np.zeros(len(points))])

    centres, lefts, rights, yaws = [], [], [], []
    for start, end in LANES:
        share = np.linspace(0.0, 1.0, 81)[:, None]
        line = (1 - share) * np.array(start) + share * np.array(end)
        yaw = np.arctan2(end[1] - start[1], end[0] - start[0])
        aside = 0.5 * LANE_M * np.array([-np.sin(yaw), np.cos(yaw)])
        centres.append(turned(line))
        lefts.append(turned(line + aside))
        rights.append(turned(line - aside))
        yaws.append(np.full(len(line), yaw + angle))
    points, start, count = pack_pieces(centres)
    square = turned([(-HALF_M, -HALF_M), (HALF_M, -HALF_M), (HALF_M, HALF_M), (-HALF_M, HALF_M)])
    drivable = pack_pieces([square])
    none = pack_pieces([])
    ends = [turned([left, right]) for left, right, _ in STOPS]
    headings = np.array([0.0, np.pi, np.pi / 2, -np.pi / 2]) + angle
    lanes = len(LANES)
    missing = np.full(lanes, -1, np.int32)
    return RoadMap(
        name="crossing", source_file="none", source_sha256="0" * 64, importer="by hand",
        lane_ids=np.array([str(n) for n in range(lanes)]), lane_start=start, lane_count=count,
        point_xyz=points, point_yaw=np.concatenate(yaws).astype(np.float32),
        point_left_xyz=np.concatenate(lefts).astype(np.float32),
        point_right_xyz=np.concatenate(rights).astype(np.float32),
        lane_length_m=np.full(lanes, 2 * HALF_M, np.float32),
        lane_speed_limit_mps=np.full(lanes, 13.9, np.float32),
        lane_width_m=np.full(lanes, LANE_M, np.float32),
        lane_successors=pad_indices([[]] * lanes), lane_predecessors=pad_indices([[]] * lanes),
        lane_left=np.array([-1, 0, -1, -1, -1], np.int32), lane_right=np.array([1, -1, -1, -1, -1], np.int32),
        lane_junction=missing,
        edge_points=square.astype(np.float32), edge_start=np.zeros(1, np.int32), edge_count=np.array([4], np.int32),
        marking_points=none[0], marking_start=none[1], marking_count=none[2], marking_type=np.zeros(0, np.int32),
        crosswalk_points=none[0], crosswalk_start=none[1], crosswalk_count=none[2],
        drivable_points=drivable[0], drivable_start=drivable[1], drivable_count=drivable[2],
        walkway_points=none[0], walkway_start=none[1], walkway_count=none[2],
        stop_line_xyz=np.stack(ends).astype(np.float32), stop_line_yaw=headings.astype(np.float32),
        stop_line_kind=np.array([kind for *_, kind in STOPS], np.int32),
        stop_line_junction=np.array([-1, 0, 0, -1], np.int32), stop_line_group=np.array([0, 0, 1, 0], np.int32),
        junction_groups=np.array([2], np.int32),
    ).validate()  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Crossing:
    """The crossing at one angle, and how to put agents there and drive."""

    atlas: RoadAtlas
    config: SimulatorConfig
    angle: float
    advance: Callable[[WorldState, jax.Array], tuple[WorldState, Events]]
    plain: Callable[[WorldState, jax.Array], tuple[WorldState, Events]]  # without detailed metrics

    def world(self, *agents: Agent, sizes: Sequence[tuple[float, float]] = ()) -> WorldState:
        """A world of these agents, given in the frame of the unturned crossing, each on a straight route ahead."""
        slots = np.zeros((AGENTS, 4), np.float32)
        slots[: len(agents)] = agents
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        x, y = slots[:, 0] * cos - slots[:, 1] * sin, slots[:, 0] * sin + slots[:, 1] * cos
        yaw = np.mod(slots[:, 2] + self.angle + np.pi, 2 * np.pi) - np.pi
        size = np.tile([LENGTH, WIDTH, 1.5], (AGENTS, 1))
        size[: len(sizes), :2] = np.reshape(sizes, (-1, 2))
        placed = np.arange(AGENTS) < len(agents)
        return world_on_straight_routes(x, y, yaw, slots[:, 3], self.config, size, placed)

    def coast(
        self, state: WorldState, steps: int, speeds: Callable[[int], Sequence[float]] | None = None
    ) -> tuple[WorldState, list[Events]]:
        """Drives straight on for some steps; ``speeds`` sets the first agents' speeds before each step."""
        noted = []
        for number in range(steps):
            if speeds is not None:
                wanted = jnp.asarray(speeds(number), jnp.float32)
                first = jnp.arange(AGENTS) < len(wanted)
                wanted = jnp.where(first, jnp.pad(wanted, (0, AGENTS - len(wanted))), state.speed)
                state = state.replace(speed=jnp.where(state.active, wanted, state.speed))
            state, events = self.advance(state, jnp.full(AGENTS, COAST, jnp.int32))
            noted.append(events)
        return state, noted


CONFIG = SimulatorConfig(
    num_agents=AGENTS,
    num_goals=1,
    kind_shares=(1.0, 0.0, 0.0, 0.0),
    randomise_dynamics=False,
    detailed_metrics=True,
    no_lights_share=0.0,
    removed_light_share=0.0,
    always_green_share=0.0,
)


@pytest.fixture(scope="session")
def junction_at() -> Callable[[float], Crossing]:
    """The crossing turned by an angle (rad)."""
    built: dict[float, Crossing] = {}

    def at(angle: float) -> Crossing:
        if angle not in built:
            atlas = build_atlas([crossing(angle)])
            advance = jax.jit(lambda state, action: step(state, action, atlas, CONFIG))
            off = dataclasses.replace(CONFIG, detailed_metrics=False)
            plain = jax.jit(lambda state, action: step(state, action, atlas, off))
            built[angle] = Crossing(atlas, CONFIG, angle, advance, plain)
        return built[angle]

    return at


@pytest.fixture(scope="session")
def junction(junction_at: Callable[[float], Crossing]) -> Crossing:
    """The crossing as drawn in ``LANES`` and ``STOPS``."""
    return junction_at(0.0)
