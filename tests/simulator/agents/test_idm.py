"""The intelligent driver model: its formula by hand, its equilibrium, lights, bends, crashes, and whole towns."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from simulator import traffic_lights
from simulator.agents import idm
from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import collides
from simulator.config import IdmConfig, SimulatorConfig
from simulator.conventions import COAST, GREEN, RED
from simulator.roads.road_map import StopKind
from simulator.rollout import needs_reset
from simulator.state import IDM, PARKED, WorldState, route_table
from simulator.step import step

Build = Callable[..., WorldState]
Populated = tuple[SimulatorConfig, WorldState, Callable[[WorldState], Any]]
RULES = IdmConfig()
AGENTS = 4
"""In every world of an open field, so that its programs are compiled once; those not asked for are absent."""


def strongly_typed(state: WorldState) -> WorldState:
    """The same numbers; a program is compiled anew for numbers that came from Python's, which JAX types weakly."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), state)


@pytest.fixture(scope="module")
def field(open_field: Build) -> Build:
    """A world of AGENTS agents on an open field, driven by IDM or as ``control`` says; none of them is active."""

    def build(
        x: list[float],
        y: list[float],
        speed: list[float],
        yaw: list[float] | None = None,
        control: list[int] | None = None,
    ) -> WorldState:
        asked, absent = len(x), AGENTS - len(x)
        values = (x, y, speed, yaw or [0.0] * asked)
        state = open_field(*([*value, *[0.0] * absent] for value in values))
        roles = jnp.asarray([*(control or [IDM] * asked), *[IDM] * absent], jnp.int32)
        scenario = state.scenario.replace(control=roles, has_idm=True)
        nobody = jnp.zeros(AGENTS, bool)
        present = jnp.arange(AGENTS) < asked
        return state.replace(scenario=scenario, active=nobody, spawned=nobody, present=present)

    return build


@pytest.fixture(scope="module")
def ask(towns: RoadAtlas, small: SimulatorConfig) -> Callable[[WorldState], Array]:
    """What the model asks of every agent (m/s2)."""
    compiled = jax.jit(lambda state: idm.accelerations(state, towns, small))
    return lambda state: compiled(strongly_typed(state))


@pytest.fixture(scope="module")
def advance(towns: RoadAtlas, small: SimulatorConfig) -> Callable[[WorldState], tuple[WorldState, Array]]:
    """One step; also who overlaps whom after it [agents]."""

    def one(state: WorldState) -> tuple[WorldState, Array]:
        after, _ = step(state, jnp.full(state.yaw.shape, COAST), towns, small)
        return after, collides(after.position, after.yaw, after.scenario.size, after.present)

    compiled = jax.jit(one)
    return lambda state: compiled(strongly_typed(state))


def test_acceleration_is_the_formula(field: Build, ask: Callable) -> None:
    """v = 10, v0 = 15, leader of 4 m at 8 m/s, centres 24 m apart: gap 20, s* = 2 + 15 + 20 / (2 sqrt(3))."""
    got = ask(field([0.0, 24.0], [0.0, 0.0], [10.0, 8.0]))
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
    field: Build, ask: Callable, other: dict[str, float], leads: bool
) -> None:
    angle = other.get("yaw", 0.0)
    state = field([0.0, other["x"]], [0.0, other["y"]], [10.0, 0.0], [0.0, angle])
    state = state.replace(position=state.position.at[1, 2].set(other.get("z", 0.0)))
    free = 1.5 * (1.0 - (10 / 15) ** 4)
    assert (float(ask(state)[0]) < free - 0.01) is leads
    absent = state.replace(present=state.present.at[1].set(False))
    assert float(ask(absent)[0]) == pytest.approx(free, rel=1e-4)


def test_a_platoon_comes_to_rest_behind_a_parked_car_without_touching(
    field: Build, advance: Callable
) -> None:
    control = [IDM] * 3 + [PARKED]
    state = field([0.0, 30.0, 60.0, 130.0], [0.0] * 4, [12.0, 12.0, 12.0, 0.0], control=control)
    for _ in range(160):
        before = np.asarray(state.position[:, 0])
        state, touching = advance(state)
        assert (np.asarray(state.position[:, 0]) >= before).all(), "nobody backs up"
        assert not np.asarray(touching).any()
    gaps = np.diff(np.asarray(state.position[:, 0])) - 4.0
    assert (np.asarray(state.speed) < 0.1).all()
    assert (gaps > 0.9 * RULES.jam_distance_m).all()
    assert (gaps < 1.5 * RULES.jam_distance_m).all()


def test_it_reaches_the_wanted_speed_and_keeps_its_offset_and_turns_with_the_world(
    field: Build, advance: Callable
) -> None:
    finals = []
    for angle in (0.0, 1.1):
        state = field([0.0], [0.0], [0.0], [angle])
        left = jnp.array([-np.sin(angle), np.cos(angle), 0.0])
        state = state.replace(position=state.position + 0.4 * left, route_offset_m=jnp.full(AGENTS, 0.4))
        for _ in range(40):
            state, _ = advance(state)
        moved = np.asarray(state.position[0] - state.scenario.route_xyz[0, 0])
        finals.append([moved[0] * np.cos(angle) + moved[1] * np.sin(angle), moved @ np.asarray(left)])
        assert 11.0 < float(state.speed[0]) < 15.0
        assert float(state.distance_m[0]) == 0.0, "metres that no policy drove do not count"
    np.testing.assert_allclose(finals[0], finals[1], atol=0.02)
    np.testing.assert_allclose(finals[0][1], 0.4, atol=0.01)
    assert state.route_m[0] == pytest.approx(finals[0][0], abs=0.02)


def test_it_vanishes_at_its_last_goal_or_stands_at_the_end(field: Build, advance: Callable) -> None:
    state = field([0.0, 0.0], [0.0, 50.0], [12.0, 12.0])
    ends = state.scenario.replace(goal_m=jnp.full((AGENTS, 1), 60.0), num_goals=jnp.array([1, 0, 1, 1]))
    state = state.replace(scenario=ends)
    for _ in range(100):
        state, _ = advance(state)
    np.testing.assert_array_equal(state.present[:2], [False, True])
    assert float(state.route_m[1]) == pytest.approx(60.0, abs=0.5)
    assert float(state.speed[1]) < 0.05


def test_a_crash_stops_it_for_as_long_as_the_boxes_overlap(field: Build, advance: Callable) -> None:
    state = field([0.0, 3.0], [0.0, 1.5], [5.0, 0.0], control=[IDM, PARKED])
    after, _ = advance(state)
    assert float(after.speed[0]) == 0.0
    np.testing.assert_array_equal(after.position[0], state.position[0])
    free, _ = advance(after.replace(present=after.present.at[1].set(False)))
    assert float(free.speed[0]) > 0.0


def test_it_slows_down_for_a_bend(field: Build, small: SimulatorConfig) -> None:
    """A quarter circle of 10 m radius: at most sqrt(2 * 10) m/s in it, more before it."""
    state = field([0.0], [0.0], [0.0])
    along = 2.0 * np.arange(state.scenario.route.shape[1]) - 40.0
    turn = np.clip(along / 10.0, 0.0, np.pi / 2)
    straight = state.scenario
    bent = route_table(
        straight.route_xyz, jnp.tile(jnp.asarray(turn, jnp.float32), (AGENTS, 1)), straight.route[..., 5]
    )
    state = state.replace(scenario=straight.replace(route=bent))
    here = state.replace(route_m=jnp.array([0.0, 20.0, 44.0, 0.0]))
    wanted = jax.jit(lambda world: idm.wanted_speed(world, idm.Corridor.of(world), small.idm))
    speeds = np.asarray(wanted(here)).tolist()
    assert speeds[2] == pytest.approx(np.sqrt(20.0), rel=0.02)
    assert speeds[1] == pytest.approx(np.sqrt(20.0 + 2.0 * 16.0), rel=0.1)
    assert speeds[0] > speeds[1] > speeds[2]


@pytest.mark.parametrize(("colour", "stops"), [(RED, True), (GREEN, False)])
def test_it_stops_at_red_and_passes_at_green(
    towns: RoadAtlas, small: SimulatorConfig, field: Build, advance: Callable, colour: int, stops: bool
) -> None:
    lit = np.flatnonzero(
        (np.asarray(towns.stop_map) == 0) & (np.asarray(towns.stop_kind) == StopKind.TRAFFIC_LIGHT)
    )
    stop, yaw = int(lit[0]), float(towns.stop_yaw[int(lit[0])])
    middle = towns.stop_xyz[stop].mean(axis=0)
    state = field([0.0], [0.0], [8.0], [yaw])
    start = middle - 40.0 * jnp.array([np.cos(yaw), np.sin(yaw), 0.0])
    old = state.scenario
    route = route_table(old.route_xyz - old.route_xyz[:, :1] + start, old.route_yaw, old.route[..., 5])
    state = state.replace(position=jnp.tile(start, (AGENTS, 1)), scenario=old.replace(route=route))
    seen = jax.jit(lambda s: traffic_lights.light_states(s, jnp.array([stop]), towns, small)[0])
    state = state.replace(
        step=next(jnp.int32(k) for k in range(400) if int(seen(state.replace(step=jnp.int32(k)))) == colour)
    )
    held = state.step
    for _ in range(60):
        state = advance(state)[0].replace(step=held)  # the light keeps its colour
    front = float(state.route_m[0]) + 2.0
    assert (front < 40.0) is stops
    if stops:
        assert 40.0 - front < 3.5, "it waits at the line, not far before it"


def test_a_town_of_idm_drivers_flows_without_crashes(populated: Populated) -> None:
    """Of all but the obstacles, which are taken away, some draw IDM for their driver; then all of them get it."""
    config, start, coast = populated
    control = np.asarray(start.scenario.control)
    idle = control == IDM
    assert 0.2 < idle.mean() < 0.4
    np.testing.assert_array_equal(start.active, np.asarray(start.present) & ~idle & (control != PARKED))
    np.testing.assert_array_equal(start.spawned, start.active)
    drivers = start.present & (start.scenario.control != PARKED)
    assert drivers.sum(axis=1).mean() > 10
    everyone = jnp.where(drivers, IDM, start.scenario.control)
    none = jnp.zeros_like(start.active)
    state = start.replace(
        scenario=start.scenario.replace(control=everyone), present=drivers, active=none, spawned=none
    )
    hits = 0
    for _ in range(120):
        state, _, touching = coast(state)
        hits += int(touching.sum())
    driven = np.asarray(state.route_m - start.route_m)[np.asarray(drivers)]
    assert np.median(driven) > 60.0
    assert hits < 0.02 * 120 * drivers.sum()
    assert not needs_reset(state, config).any(), "nobody counts, so only time ends the episode"


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="idm_share"):
        SimulatorConfig(idm_share=1.2)
    with pytest.raises(ValueError, match="deceleration_mps2=0"):
        IdmConfig(deceleration_mps2=0.0)
