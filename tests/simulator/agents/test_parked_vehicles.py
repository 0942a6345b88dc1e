"""Parked and crashed vehicles in towns: where they stand, and that they stay."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from simulator.agents.parked_vehicles import BLOCKED_M, PARKING_KERB_M
from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import collides
from simulator.config import SimulatorConfig
from simulator.state import PARKED, WorldState


def test_obstacles_stand_beside_the_lanes_apart_from_everybody(
    towns: RoadAtlas, populated: tuple[SimulatorConfig, WorldState, Callable[[WorldState], Any]]
) -> None:
    """Town02 (kerb beside the lane) and Town04 (wide): on the road but for the kerb, off the middle of the lane."""
    config, start, coast = populated
    stands = np.asarray(start.scenario.control == PARKED) & np.asarray(start.present)
    turned = np.abs(np.asarray(start.yaw - start.scenario.route_yaw[:, :, 0])) > 1e-6
    parked, crashed = stands & ~turned, stands & turned
    assert parked.sum() > 20
    assert crashed.sum() > 5
    assert not (np.asarray(start.active) & stands).any()
    overlap = jax.jit(jax.vmap(collides))
    assert not overlap(start.position, start.yaw, start.scenario.size, start.present).any()
    room = np.asarray(jax.jit(jax.vmap(partial(corner_edge_distance, atlas=towns, config=config)))(start))[
        parked
    ]
    assert (room > -PARKING_KERB_M - 0.3).all()
    assert (room.min(axis=1) < 0.3).all(), "one side is at the edge"
    lane = np.asarray(start.scenario.route_xyz[:, :, 0])
    aside = np.linalg.norm(np.asarray(start.position) - lane, axis=-1)[parked]
    assert (0.5 * np.asarray(start.scenario.size)[..., 1][parked] - aside <= BLOCKED_M + 1e-3).all()
    after, events, _ = coast(start)
    np.testing.assert_array_equal(np.asarray(after.position)[stands], np.asarray(start.position)[stands])
    assert not np.asarray(events.offroad)[stands].any()
    assert np.asarray(after.present)[stands].all()
