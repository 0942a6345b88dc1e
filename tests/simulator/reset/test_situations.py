"""Worlds with situations: a blocked lane that can be passed, turns across oncoming cars, merges."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.nearest_lane import nearest_lane
from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import collides
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.reset.situations.config import SituationConfig
from simulator.rollout import reset_worlds
from simulator.state import PARKED, POLICY, WorldState, turns

WORLDS = 8


def start(atlas: RoadAtlas, config: SimulatorConfig, **shares: float) -> WorldState:
    """Initial states of WORLDS worlds with these shares of situations."""
    config = dataclasses.replace(config, situations=SituationConfig(**shares))
    return jax.jit(partial(reset_worlds, config=config, num_worlds=WORLDS))(jax.random.key(3), atlas)


@pytest.fixture(scope="module")
def blocked(towns: RoadAtlas, small: SimulatorConfig) -> WorldState:
    """Worlds in all of which a lane is blocked."""
    return start(towns, small, blocked_lane_share=1.0)


def parked_ahead(state: WorldState) -> list[tuple[int, int, int]]:
    """World, agent and parked car of every agent that has a parked car within 65 m on its route."""
    found = []
    stands = np.asarray((state.scenario.control == PARKED) & state.present)
    route = np.asarray(state.scenario.route[..., :2])
    position = np.asarray(state.position[..., :2])
    for world, agent in zip(*np.nonzero(np.asarray(state.active)), strict=True):
        for car in np.flatnonzero(stands[world]):
            apart = np.linalg.norm(route[world, agent, :33] - position[world, car], axis=-1)
            if apart.min() < 1.5:
                found.append((int(world), int(agent), int(car)))
    return found


def test_every_world_has_a_parked_car_in_the_lane_of_an_agent(blocked: WorldState) -> None:
    """The car stands in the middle of the agent's route, aligned with it, and takes no part in metrics."""
    pairs = parked_ahead(blocked)
    assert {world for world, _, _ in pairs} == set(range(WORLDS))
    for world, _, car in pairs:
        assert float(blocked.speed[world, car]) == 0.0
        assert not bool(blocked.active[world, car] | blocked.spawned[world, car])


def test_the_car_can_be_passed_on_a_lane_beside_it(
    blocked: WorldState, towns: RoadAtlas, small: SimulatorConfig
) -> None:
    """Left or right of each parked car is another lane, of either direction, with room for a car on the road."""
    lane_at = jax.jit(partial(nearest_lane, towns))
    both_directions = set()
    for world, agent, car in parked_ahead(blocked):
        xyz, yaw = np.asarray(blocked.position[world, car]), float(blocked.yaw[world, car])
        map_id = blocked.map_id[world]
        own = lane_at(map_id, jnp.asarray(xyz))
        assert float(own.distance_m) < 0.3
        sides = []
        for side in (1.0, -1.0):
            across = side * float(towns.lane_width_m[own.lane]) * np.array([-np.sin(yaw), np.cos(yaw), 0.0])
            found = lane_at(map_id, jnp.asarray(xyz + across, jnp.float32))
            if int(found.lane) in (-1, int(own.lane)) or float(found.distance_m) > 1.0:
                continue
            test = blocked.replace(position=blocked.position.at[world, agent].set(jnp.asarray(xyz + across)))
            one = jax.tree.map(lambda leaf, at=world: leaf[at], test)
            one = one.replace(
                yaw=one.yaw.at[agent].set(yaw),
                scenario=one.scenario.replace(
                    size=one.scenario.size.at[agent].set(jnp.array([12.0, 2.1, 1.5]))
                ),
            )
            room = corner_edge_distance(one, towns, small)[agent]
            if float(room.min()) > -small.offroad_margin_m:
                sides.append(np.cos(float(found.yaw) - yaw) > 0)
        assert sides, "no lane beside it with room"
        both_directions.update(sides)
    assert both_directions == {True, False}


def test_nobody_overlaps_and_goals_can_be_reached_beside_the_car(blocked: WorldState) -> None:
    """No box overlaps another at the start, and no goal lies within 8 m of a parked car."""
    overlap = jax.vmap(collides)
    assert not overlap(blocked.position, blocked.yaw, blocked.scenario.size, blocked.present).any()
    for world, agent, car in parked_ahead(blocked):
        route = np.asarray(blocked.scenario.route[world, agent, :, :2])
        apart = np.linalg.norm(route - np.asarray(blocked.position[world, car, :2]), axis=-1)
        at = ROUTE_SPACING_M * int(apart[:40].argmin())
        if agent == car + 1:  # the agent for which it was placed
            goals = np.asarray(blocked.scenario.goal_m[world, agent])[
                : int(blocked.scenario.num_goals[world, agent])
            ]
            assert np.abs(goals - at).min() > 8.0


def test_detours_lead_around_the_car(towns: RoadAtlas, small: SimulatorConfig) -> None:
    """With detour_share 1 all routes can be steered, and half of them keep clear of the parked car."""
    state = start(towns, small, blocked_lane_share=1.0, detour_share=1.0)
    clear = 0
    for world in range(WORLDS):
        if not (bool(state.active[world, 1]) and bool(state.present[world, 0])):
            continue
        rows = np.asarray(state.scenario.route[world, 1, :40])
        apart = np.linalg.norm(rows[:, :2] - np.asarray(state.position[world, 0, :2]), axis=-1)
        clear += bool(apart.min() > 2.2)
        step = np.diff(rows[:, :2], axis=0)
        along = (step * rows[:-1, 2:4]).sum(axis=1) / np.linalg.norm(step, axis=1).clip(0.1)
        assert along[: int(apart.argmin())].min() > 0.95, "directions fit the stations"
        assert np.abs(turns(rows[:20, 2], rows[:20, 3])).max() < 0.35
    assert clear >= 3


def test_turns_cross_the_way_of_oncoming_cars(towns: RoadAtlas, small: SimulatorConfig) -> None:
    """In most worlds the first agent turns left within 60 m, and the route of an oncoming one crosses its own."""
    state = start(towns, small, left_turn_share=1.0)
    crossing = 0
    for world in range(WORLDS):
        rows = np.asarray(state.scenario.route[world, :, :40])
        others = [agent for agent in range(2, 6) if bool(state.active[world, agent])]
        if not bool(state.active[world, 0]) or not others:
            continue
        yaw = np.unwrap(np.arctan2(rows[0, :, 3], rows[0, :, 2]))
        assert (yaw - yaw[0]).max() > 0.8
        assert not bool(state.scenario.lights_on[world])
        for agent in others:
            apart = np.linalg.norm(rows[0, :, None, :2] - rows[agent, None, :, :2], axis=-1)
            opposite = np.cos(float(state.yaw[world, agent] - state.yaw[world, 0])) < -0.5
            crossing += bool(apart.min() < 2.0 and opposite)
    assert crossing >= WORLDS // 2


def test_merging_cars_share_the_way_ahead(towns: RoadAtlas, small: SimulatorConfig) -> None:
    """In most worlds cars of both lanes start apart and their routes come together."""
    state = start(towns, small, merge_share=1.0)
    merging = 0
    for world in range(WORLDS):
        rows = np.asarray(state.scenario.route[world, :, :45, :2])
        if bool(state.active[world, 0]) and bool(state.active[world, 3]):
            apart = np.linalg.norm(rows[0, :, None] - rows[3, None], axis=-1)
            assert apart[0, 0] > 2.5
            merging += bool(apart.min() < 1.2)
    assert merging >= WORLDS // 2


def test_worlds_without_a_situation_do_not_change(towns: RoadAtlas, small: SimulatorConfig) -> None:
    """Where a world has none, all bytes are those of a configuration without situations."""
    without, some = start(towns, small), start(towns, small, blocked_lane_share=0.5)
    has = np.asarray((some.scenario.control != POLICY).any(axis=1))
    assert 0 < has.sum() < WORLDS
    same = jax.tree.map(
        lambda a, b: np.asarray(a)[~has].tobytes() == np.asarray(b)[~has].tobytes(), without, some
    )
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
