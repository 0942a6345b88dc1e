"""The intelligent driver model: its formula by hand, its equilibrium, lights, bends, crashes, and whole towns."""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator import idm, lights
from simulator.atlas import RoadAtlas
from simulator.collision import collides
from simulator.config import IdmConfig, SimulatorConfig
from simulator.dynamics import COAST
from simulator.rollout import needs_reset, reset_worlds, step_worlds
from simulator.step import step
from simulator.world import IDM, PARKED, WorldState, route_table

Build = Callable[..., WorldState]
RULES = IdmConfig()


def by_idm(state: WorldState, control: list[int] | None = None) -> WorldState:
    """The world with IDM drivers (or the given ones), none of whom is active."""
    agents = state.yaw.shape[0]
    roles = jnp.asarray(control if control is not None else [IDM] * agents, jnp.int32)
    scenario = state.scenario.replace(control=roles, has_idm=True)
    return state.replace(scenario=scenario, active=roles == 0, spawned=roles == 0)


@pytest.fixture(scope="module")
def advance(towns: RoadAtlas, small: SimulatorConfig) -> Callable[[WorldState], WorldState]:
    return jax.jit(lambda state: step(state, jnp.full(state.yaw.shape, COAST), towns, small)[0])


def test_acceleration_is_the_formula(open_field: Build, towns: RoadAtlas, small: SimulatorConfig) -> None:
    """v = 10, v0 = 15, leader of 4 m at 8 m/s, centres 24 m apart: gap 20, s* = 2 + 15 + 20 / (2 sqrt(3))."""
    state = by_idm(open_field([0.0, 24.0], [0.0, 0.0], [10.0, 8.0]))
    got = jax.jit(idm.accelerations, static_argnums=2)(state, towns, small)
    wanted = 2.0 + 10.0 * 1.5 + 10.0 * 2.0 / (2.0 * np.sqrt(1.5 * 2.0))
    np.testing.assert_allclose(got[0], 1.5 * (1.0 - (10 / 15) ** 4 - (wanted / 20.0) ** 2), rtol=1e-4)
    np.testing.assert_allclose(got[1], 1.5 * (1.0 - (8 / 15) ** 4), rtol=1e-4)


@pytest.mark.parametrize(
    ("other", "leads"),
    [
        ({"x": 20.0, "y": 0.0}, True),
        ({"x": -20.0, "y": 0.0}, False),
        ({"x": 20.0, "y": 2.1}, True),  # half widths of 1 + 1 and 0.2 of margin reach 2.2
        ({"x": 20.0, "y": 2.3}, False),
        ({"x": 20.0, "y": 3.1, "yaw": np.pi / 2}, True),  # a box across the road reaches farther aside
        ({"x": 20.0, "y": 3.3, "yaw": np.pi / 2}, False),
        ({"x": 20.0, "y": 0.0, "z": 6.0}, False),
        ({"x": 120.0, "y": 0.0}, False),
    ],
)
def test_leaders_are_those_in_the_corridor_ahead(
    open_field: Build, towns: RoadAtlas, small: SimulatorConfig, other: dict[str, float], leads: bool
) -> None:
    angle = other.get("yaw", 0.0)
    state = by_idm(open_field([0.0, other["x"]], [0.0, other["y"]], [10.0, 0.0], [0.0, angle]))
    state = state.replace(position=state.position.at[1, 2].set(other.get("z", 0.0)))
    free = 1.5 * (1.0 - (10 / 15) ** 4)
    got = float(jax.jit(idm.accelerations, static_argnums=2)(state, towns, small)[0])
    assert (got < free - 0.01) is leads
    absent = state.replace(present=jnp.array([True, False]))
    assert float(idm.accelerations(absent, towns, small)[0]) == pytest.approx(free, rel=1e-4)


def test_a_platoon_comes_to_rest_behind_a_parked_car_without_touching(
    open_field: Build, advance: Callable
) -> None:
    state = by_idm(
        open_field([0.0, 30.0, 60.0, 130.0], [0.0] * 4, [12.0, 12.0, 12.0, 0.0]), [IDM] * 3 + [PARKED]
    )
    for _ in range(160):
        before, state = state, advance(state)
        assert (state.position[:, 0] >= before.position[:, 0]).all(), "nobody backs up"
        assert not collides(state.position, state.yaw, state.scenario.size, state.present).any()
    gaps = np.diff(np.asarray(state.position[:, 0])) - 4.0
    assert (np.asarray(state.speed) < 0.1).all()
    assert (gaps > 0.9 * RULES.jam_distance_m).all()
    assert (gaps < 1.5 * RULES.jam_distance_m).all()


def test_it_reaches_the_wanted_speed_and_keeps_its_offset_and_turns_with_the_world(
    open_field: Build, advance: Callable
) -> None:
    finals = []
    for angle in (0.0, 1.1):
        state = by_idm(open_field([0.0], [0.0], [0.0], [angle]))
        left = jnp.array([-np.sin(angle), np.cos(angle), 0.0])
        state = state.replace(position=state.position + 0.4 * left, route_offset_m=jnp.array([0.4]))
        for _ in range(40):
            state = advance(state)
        moved = np.asarray(state.position[0] - state.scenario.route_xyz[0, 0])
        finals.append([moved[0] * np.cos(angle) + moved[1] * np.sin(angle), moved @ np.asarray(left)])
        assert 11.0 < float(state.speed[0]) < 15.0
        assert float(state.distance_m[0]) == 0.0, "metres that no policy drove do not count"
    np.testing.assert_allclose(finals[0], finals[1], atol=0.02)
    np.testing.assert_allclose(finals[0][1], 0.4, atol=0.01)
    assert state.route_m[0] == pytest.approx(finals[0][0], abs=0.02)


def test_it_vanishes_at_its_last_goal_or_stands_at_the_end(open_field: Build, advance: Callable) -> None:
    state = by_idm(open_field([0.0, 0.0], [0.0, 50.0], [12.0, 12.0]))
    ends = state.scenario.replace(goal_m=jnp.full((2, 1), 60.0), num_goals=jnp.array([1, 0]))
    state = state.replace(scenario=ends)
    for _ in range(100):
        state = advance(state)
    np.testing.assert_array_equal(state.present, [False, True])
    assert float(state.route_m[1]) == pytest.approx(60.0, abs=0.5)
    assert float(state.speed[1]) < 0.05


def test_a_crash_stops_it_for_as_long_as_the_boxes_overlap(open_field: Build, advance: Callable) -> None:
    state = by_idm(open_field([0.0, 3.0], [0.0, 1.5], [5.0, 0.0]), [IDM, PARKED])
    after = advance(state)
    assert float(after.speed[0]) == 0.0
    np.testing.assert_array_equal(after.position[0], state.position[0])
    free = advance(after.replace(present=jnp.array([True, False])))
    assert float(free.speed[0]) > 0.0


def test_it_slows_down_for_a_bend(open_field: Build, towns: RoadAtlas, small: SimulatorConfig) -> None:
    """A quarter circle of 10 m radius: at most sqrt(2 * 10) m/s in it, more before it."""
    state = by_idm(open_field([0.0], [0.0], [0.0]))
    along = 2.0 * np.arange(101) - 40.0
    turn = np.clip(along / 10.0, 0.0, np.pi / 2)
    straight = state.scenario
    bent = route_table(straight.route_xyz, jnp.asarray(turn, jnp.float32)[None], straight.route_limit_mps)
    state = state.replace(scenario=straight.replace(route=bent))
    speeds = []
    for place in (0.0, 20.0, 44.0):
        here = state.replace(route_m=jnp.array([place]))
        speeds.append(float(idm.wanted_speed(here, idm.Corridor.of(here), small.idm)[0]))
    assert speeds[2] == pytest.approx(np.sqrt(20.0), rel=0.02)
    assert speeds[1] == pytest.approx(np.sqrt(20.0 + 2.0 * 16.0), rel=0.1)
    assert speeds[0] > speeds[1] > speeds[2]


@pytest.mark.parametrize(("colour", "stops"), [(lights.RED, True), (lights.GREEN, False)])
def test_it_stops_at_red_and_passes_at_green(
    towns: RoadAtlas, small: SimulatorConfig, open_field: Build, advance: Callable, colour: int, stops: bool
) -> None:
    lit = np.flatnonzero(
        (np.asarray(towns.stop_map) == 0) & (np.asarray(towns.stop_kind) == lights.TRAFFIC_LIGHT)
    )
    stop, yaw = int(lit[0]), float(towns.stop_yaw[int(lit[0])])
    middle = towns.stop_xyz[stop].mean(axis=0)
    state = by_idm(open_field([0.0], [0.0], [8.0], [yaw]))
    start = middle - 40.0 * jnp.array([np.cos(yaw), np.sin(yaw), 0.0])
    old = state.scenario
    route = route_table(old.route_xyz - old.route_xyz[:, :1] + start, old.route_yaw, old.route_limit_mps)
    state = state.replace(position=start[None], scenario=old.replace(route=route))
    seen = jax.jit(lambda s: lights.light_states(s, jnp.array([stop]), towns, small)[0])
    state = state.replace(
        step=next(jnp.int32(k) for k in range(400) if int(seen(state.replace(step=jnp.int32(k)))) == colour)
    )
    held = state.step
    for _ in range(60):
        state = advance(state).replace(step=held)  # the light keeps its colour
    front = float(state.route_m[0]) + 2.0
    assert (front < 40.0) is stops
    if stops:
        assert 40.0 - front < 3.5, "it waits at the line, not far before it"


def test_a_town_of_idm_drivers_flows_without_crashes(towns: RoadAtlas, small: SimulatorConfig) -> None:
    config = dataclasses.replace(small, idm_share=0.5, num_agents=12, randomise_dynamics=False)
    start = jax.jit(partial(reset_worlds, config=config, num_worlds=4))(jax.random.key(0), towns)
    idle = np.asarray(start.scenario.control) == IDM
    assert 0.2 < idle.mean() < 0.8
    np.testing.assert_array_equal(start.active, np.asarray(start.present) & ~idle)
    np.testing.assert_array_equal(start.spawned, start.active)
    everyone = jnp.full_like(start.scenario.control, IDM)
    none = jnp.zeros_like(start.active)
    state = start.replace(scenario=start.scenario.replace(control=everyone), active=none, spawned=none)
    run = jax.jit(lambda s: step_worlds(s, jnp.full(s.yaw.shape, COAST), towns, config)[0])
    hits = 0
    for _ in range(120):
        state = run(state)
        hits += int(jax.vmap(collides)(state.position, state.yaw, state.scenario.size, state.present).sum())
    driven = np.asarray(state.route_m - start.route_m)[np.asarray(start.present)]
    assert np.median(driven) > 60.0
    assert hits < 0.02 * 120 * start.present.sum()
    assert not needs_reset(state, config).any(), "nobody counts, so only time ends the episode"


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="idm_share"):
        SimulatorConfig(idm_share=1.2)
    with pytest.raises(ValueError, match="deceleration_mps2=0"):
        IdmConfig(deceleration_mps2=0.0)
