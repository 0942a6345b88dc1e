"""Distances, angles and red lights of worlds whose numbers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.config import SimulatorConfig
from simulator.roads.road_map import RoadMap
from simulator.state import WorldState
from teacher.probes.catalogue import AGENTS, GOALS, probe_atlas, probe_simulator
from teacher.probes.maps import BOX_M, PROBE_ARM_M, roads, straight
from teacher.probes.road import path, stop_line_of
from teacher.probes.starts import Driver, Trial, start_trials
from teacher.sweep.behaviour import Behaviour, behaviour

CONFIG = probe_simulator(SimulatorConfig(num_agents=AGENTS, num_goals=GOALS))
SIZE = (4.0, 2.0, 1.5)


@cache
def compiled() -> Callable[..., Behaviour]:
    return jax.jit(partial(behaviour, config=CONFIG))


def look(world: WorldState) -> Behaviour:
    seen = compiled()(world, probe_atlas())
    return Behaviour(*(np.asarray(leaf) for leaf in seen))


def world_on(road: RoadMap, places: list[tuple[tuple[str, ...], float]], **settings) -> WorldState:
    """Agents of 4 x 2 m at 5 m/s, each given by its lanes and its place along them."""
    drivers = tuple(Driver(path(road, *lanes), at, 5.0, (at + 20.0,), SIZE) for lanes, at in places)
    trial = Trial(road.name, drivers, "by hand", **settings)
    return jax.tree.map(lambda leaf: leaf[0], start_trials([trial], probe_atlas(), CONFIG))


@pytest.fixture(scope="module")
def row() -> WorldState:
    """On the right of two lanes at 20, 35 and 60 m; on the left one, 3.5 m aside, at 37 m; no oncoming vehicle."""
    right = ("right",)
    return world_on(roads()["two_lanes"], [(right, 20.0), (right, 35.0), (right, 60.0), (("left",), 37.0)])


def test_gaps_are_from_bumper_to_bumper_in_the_own_lane(row):
    seen = look(row)
    np.testing.assert_allclose(seen.gap_m[:2], [15.0 - 4.0, 25.0 - 4.0], atol=1e-3)
    assert np.isinf(seen.gap_m[2:4]).all()  # the first of the lane, and one that is alone in the other


def test_leaders_are_near_and_go_the_same_way(row):
    turned = row.replace(yaw=row.yaw.at[1].set(jnp.pi))
    assert look(turned).gap_m[0] == np.inf
    away = row.replace(present=row.present.at[1].set(False))
    assert look(away).gap_m[0] == np.inf  # the next is 36 m ahead
    nearer = away.replace(position=away.position.at[2, 0].add(-10.0))
    np.testing.assert_allclose(look(nearer).gap_m[0], 26.0, atol=1e-3)


def test_clearance_is_between_boxes(row):
    """Agents 1 and 3 overlap in length, 3.5 - 2 m apart; agent 0 sees 1 straight ahead, 11 m away; agent 2 has 3
    at (60 - 37 - 4, 1.5) m."""
    expected = [11.0, 1.5, np.hypot(19.0, 1.5), 1.5]
    np.testing.assert_allclose(look(row).clearance_m[:4], expected, atol=1e-3)
    # A crossing car: its front's corner, 0.5 m beside the middle, is nearest to a flank.
    turned = row.replace(
        yaw=row.yaw.at[0].set(jnp.pi / 2), position=row.position.at[0, :2].set(jnp.array([35.0, -9.0]))
    )
    np.testing.assert_allclose(look(turned).clearance_m[0], 9.0 - 3.5 - 2.0 - 1.0, atol=1e-3)


def test_offset_angle_and_room_to_the_edge(row):
    """0.5 m left of the lane's middle, turned by 0.1 rad: the front left corner is nearest to nothing, the rear right
    one 1.75 + 0.5 - 2 sin 0.1 - cos 0.1 m from the kerb."""
    moved = row.replace(
        position=row.position.at[0, 1].add(0.5),
        yaw=row.yaw.at[0].set(0.1),
        route_offset_m=row.route_offset_m + 0.5,
    )
    seen = look(moved)
    assert seen.offset_m[0] == pytest.approx(0.5)
    assert seen.angle[0] == pytest.approx(0.1, abs=1e-5)
    assert seen.edge_room_m[0] == pytest.approx(2.25 - 2.0 * np.sin(0.1) - np.cos(0.1), abs=0.02)
    np.testing.assert_array_equal(seen.drives[:4], True)
    np.testing.assert_array_equal(seen.drives[4:], False)


@pytest.mark.parametrize(
    ("to_line_m", "cycle_s", "met"),
    [(10.0, 20.0, True), (20.0, 20.0, False), (10.0, 5.0, False), (-1.0, 20.0, False)],
    ids=["near and red", "far", "green", "beyond"],
)
def test_red_lights_are_met_close_before_their_line(to_line_m, cycle_s, met):
    road = roads()["signals"]
    line = stop_line_of(road, "west_in")
    at = PROBE_ARM_M - BOX_M - to_line_m - 0.5 * SIZE[0]
    world = world_on(road, [(straight("west"), at)], cycle_s=cycle_s, line=line)
    atlas = probe_atlas()
    first = int(atlas.map_stop_start[atlas.names.index(road.name)])
    assert look(world).red_line[0] == (first + line if met else -1)
    backwards = world.replace(yaw=world.yaw + jnp.pi)
    assert look(backwards).red_line[0] == -1
