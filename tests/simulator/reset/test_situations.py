"""Worlds with situations: a blocked lane that can be passed, turns across oncoming cars, merges.

All kinds are in the same few worlds, so that one reset is compiled; what tells them apart is stated by `Kinds`.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.nearest_lane import nearest_lane
from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import collides
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.reset.situations.config import SituationConfig
from simulator.rollout import reset_worlds
from simulator.state import POLICY, WorldState, turns

BATCHES, WORLDS = 8, 6
SHARES = SituationConfig(blocked_lane_share=0.4, left_turn_share=0.25, merge_share=0.25, detour_share=0.5)
CAR, BEHIND = 0, 1
"""Slots of the parked car, and of the agent behind it, in a world with a blocked lane."""


class Kinds(NamedTuple):
    """Which worlds have which situation, [worlds] bool."""

    blocked: np.ndarray  # only here an agent is parked
    at_junction: np.ndarray  # a left turn or a merge: only here the lights are off
    none: np.ndarray


def start(atlas: RoadAtlas, config: SimulatorConfig) -> WorldState:
    """Initial states of BATCHES x WORLDS worlds, as host arrays."""
    build = jax.jit(partial(reset_worlds, config=config, num_worlds=WORLDS))
    batches = [build(key, atlas) for key in jax.random.split(jax.random.key(3), BATCHES)]
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *batches)


@pytest.fixture(scope="module")
def worlds(towns: RoadAtlas, small: SimulatorConfig) -> WorldState:
    """Worlds of all kinds."""
    return start(towns, dataclasses.replace(small, situations=SHARES))


@pytest.fixture(scope="module")
def kinds(worlds: WorldState) -> Kinds:
    """What each of the worlds has."""
    blocked = (worlds.scenario.control != POLICY).any(axis=1)
    at_junction = ~worlds.scenario.lights_on
    return Kinds(blocked, at_junction, ~blocked & ~at_junction)


def pairs(worlds: WorldState, kinds: Kinds) -> np.ndarray:
    """Numbers of the worlds in which the parked car and the agent behind it are both there."""
    both = worlds.present[:, CAR] & worlds.active[:, BEHIND]
    return np.flatnonzero(kinds.blocked & both)


def from_car(worlds: WorldState, world: int) -> np.ndarray:
    """Distances (m) of the parked car from the first 80 m of the route of the agent behind it."""
    route = worlds.scenario.route[world, BEHIND, :40, :2]
    return np.linalg.norm(route - worlds.position[world, CAR, :2], axis=-1)


def test_every_kind_is_as_frequent_as_its_share(kinds: Kinds) -> None:
    """Of 48 worlds; no world has two kinds."""
    assert not (kinds.blocked & kinds.at_junction).any()
    assert 12 <= kinds.blocked.sum() <= 27
    assert 16 <= kinds.at_junction.sum() <= 32
    assert kinds.none.any()


def test_a_parked_car_stands_in_the_lane_of_an_agent(worlds: WorldState, kinds: Kinds) -> None:
    """The car stands on the route of the agent behind it, or beside it where the route leads around it, and takes no
    part in metrics."""
    found = pairs(worlds, kinds)
    assert len(found) > 0.8 * kinds.blocked.sum()
    nearest = np.array([from_car(worlds, world).min() for world in found])
    assert (nearest < 5.0).all()
    assert (nearest < 1.5).sum() > 0.3 * len(found)
    assert (worlds.speed[found, CAR] == 0.0).all()
    assert not (worlds.active[found, CAR] | worlds.spawned[found, CAR]).any()


def test_the_car_can_be_passed_on_a_lane_beside_it(
    worlds: WorldState, kinds: Kinds, towns: RoadAtlas, small: SimulatorConfig
) -> None:
    """Left or right of each parked car is another lane, of either direction, with room for a long car on the road."""

    def beside(world: WorldState, side: Array) -> tuple[Array, ...]:
        """Distance (m) of the car from the middle of its lane; whether there is a lane at this side with room, and
        whether that has the same direction."""
        xyz, yaw = world.position[CAR], world.yaw[CAR]
        own = nearest_lane(towns, world.map_id, xyz)
        left = jnp.stack([-jnp.sin(yaw), jnp.cos(yaw), jnp.zeros(())])
        place = xyz + side * towns.lane_width_m[own.lane] * left
        found = nearest_lane(towns, world.map_id, place)
        size = world.scenario.size.at[BEHIND].set(jnp.array([12.0, 2.1, 1.5]))
        moved = world.replace(
            position=world.position.at[BEHIND].set(place),
            yaw=world.yaw.at[BEHIND].set(yaw),
            scenario=world.scenario.replace(size=size),
        )
        room = corner_edge_distance(moved, towns, small)[BEHIND].min() > -small.offroad_margin_m
        there = (found.lane >= 0) & (found.lane != own.lane) & (found.distance_m <= 1.0)
        return own.distance_m, there & room, jnp.cos(found.yaw - yaw) > 0

    both_sides = jax.vmap(jax.vmap(beside, (None, 0)), (0, None))
    some = jax.tree.map(lambda leaf: jnp.asarray(leaf[pairs(worlds, kinds)]), worlds)
    off_centre, free, same_way = map(np.asarray, jax.jit(both_sides)(some, jnp.array([1.0, -1.0])))
    assert off_centre.max() < 0.3
    assert free.any(axis=1).all(), "no lane beside it with room"
    assert set(same_way[free]) == {True, False}


def test_nobody_overlaps_and_goals_can_be_reached_beside_the_car(worlds: WorldState, kinds: Kinds) -> None:
    """No box overlaps another at the start, and no goal lies within 8 m of a parked car."""
    overlap = jax.jit(jax.vmap(collides))
    assert not overlap(worlds.position, worlds.yaw, worlds.scenario.size, worlds.present).any()
    for world in pairs(worlds, kinds):
        at = ROUTE_SPACING_M * int(from_car(worlds, world).argmin())
        number = int(worlds.scenario.num_goals[world, BEHIND])
        assert np.abs(worlds.scenario.goal_m[world, BEHIND, :number] - at).min() > 8.0


def test_detours_lead_around_the_car(worlds: WorldState, kinds: Kinds) -> None:
    """With detour_share 0.5 a quarter of the routes keep clear of the parked car, and these can be steered."""
    found = pairs(worlds, kinds)
    clear = [world for world in found if from_car(worlds, world).min() > 2.2]
    assert 0.08 * len(found) < len(clear) < 0.6 * len(found)
    for world in clear:
        at = int(from_car(worlds, world).argmin())
        rows = worlds.scenario.route[world, BEHIND, : at + 7]  # the lane goes on for 14 m beyond the car
        step = np.diff(rows[:, :2], axis=0)
        along = (step * rows[:-1, 2:4]).sum(axis=1) / np.linalg.norm(step, axis=1).clip(0.1)
        assert along.min() > 0.95, "directions fit the stations"
        assert np.abs(np.asarray(turns(rows[:, 2], rows[:, 3]))).max() < 0.35


def meeting(worlds: WorldState, world: int, one: int, two: int) -> tuple[float, float]:
    """Least distance (m) of two agents' routes over 90 m, and the cosine of the angle between them there."""
    rows = worlds.scenario.route[world, [one, two], :45]
    apart = np.linalg.norm(rows[0, :, None, :2] - rows[1, None, :, :2], axis=-1)
    first, second = np.unravel_index(apart.argmin(), apart.shape)
    return float(apart.min()), float(rows[0, first, 2:4] @ rows[1, second, 2:4])


def turns_across(worlds: WorldState, world: int) -> bool:
    """Whether the first agent turns left across the way of an oncoming one."""
    yaw = np.unwrap(
        np.arctan2(worlds.scenario.route[world, 0, :40, 3], worlds.scenario.route[world, 0, :40, 2])
    )
    others = [agent for agent in range(2, 6) if worlds.active[world, agent]]
    opposite = [np.cos(worlds.yaw[world, agent] - worlds.yaw[world, 0]) < -0.5 for agent in others]
    meet = [meeting(worlds, world, 0, agent)[0] < 2.0 for agent in others]
    left = (yaw - yaw[0]).max() > 0.8
    return bool(
        worlds.active[world, 0] and left and any(a and b for a, b in zip(opposite, meet, strict=True))
    )


def merges(worlds: WorldState, world: int) -> bool:
    """Whether agents of both rows start apart and come together in one direction."""
    if not worlds.active[world, [0, 3]].all():
        return False
    apart = np.linalg.norm(worlds.position[world, 0, :2] - worlds.position[world, 3, :2])
    nearest, cosine = meeting(worlds, world, 0, 3)
    return bool(apart > 2.5 and nearest < 1.2 and cosine > 0.8)


def test_turns_and_merges(worlds: WorldState, kinds: Kinds) -> None:
    """Most worlds at a junction have the one or the other."""
    found = np.flatnonzero(kinds.at_junction)
    crossing = sum(turns_across(worlds, world) for world in found)
    merging = sum(merges(worlds, world) for world in found)
    assert crossing >= 0.25 * len(found)
    assert merging >= 0.25 * len(found)
    assert crossing + merging >= 0.6 * len(found)


def test_worlds_without_a_situation_do_not_change(
    worlds: WorldState, kinds: Kinds, towns: RoadAtlas, small: SimulatorConfig
) -> None:
    """Where a world has none, all bytes are those of a configuration without situations."""
    plain, none = start(towns, small), kinds.none
    same = jax.tree.map(lambda a, b: a[none].tobytes() == b[none].tobytes(), plain, worlds)
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"merge_share": 1.5}, r"merge_share=1.5 must lie in \[0, 1\]"),
        ({"merge_share": 0.7, "left_turn_share": 0.7}, "is 1.4; it must not exceed 1"),
        ({"detour_share": 0.5}, "expected a positive blocked_lane_share"),
    ],
)
def test_bad_shares_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SituationConfig(**shares)
