"""Episodes in real towns: how they begin, what a step notices, and what must not matter."""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from simulator import traffic_lights
from simulator.atlas.road_atlas import RoadAtlas, drivable_distance
from simulator.collision import collides
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import COAST, GREEN, RED, YELLOW
from simulator.reset.goals import steerable_m
from simulator.reset.placement import check_capacity
from simulator.roads.road_map import StopKind
from simulator.rollout import needs_reset, reset_worlds, select_worlds, step_worlds
from simulator.state import WorldState, rear_axle, route_table

Key = Callable[[], Array]
WORLDS = 6


@pytest.fixture(scope="module")
def build(towns: RoadAtlas, small: SimulatorConfig) -> Callable[[Array], WorldState]:
    """New worlds from a key."""
    compiled = jax.jit(partial(reset_worlds, config=small, num_worlds=WORLDS))
    return lambda key: compiled(key, towns)


@pytest.fixture(scope="module")
def start(build: Callable[[Array], WorldState]) -> WorldState:
    return build(jax.random.key(3))


@pytest.fixture(scope="module")
def advance(towns: RoadAtlas, small: SimulatorConfig) -> Callable:
    return jax.jit(lambda state, action: step_worlds(state, action, towns, small))


def all_do(state: WorldState, action: int = COAST) -> Array:
    return jnp.full(state.active.shape, action, jnp.int32)


def hold(state: WorldState, **fields: Array) -> WorldState:
    """Everybody stands still, but for ``fields``."""
    still = jnp.zeros_like(state.speed)
    return state.replace(**({"speed": still, "acceleration": still} | fields))


def test_agents_start_on_the_road_apart_and_on_their_route(start: WorldState, towns: RoadAtlas) -> None:
    assert start.spawned.mean() > 0.95
    hit = jax.jit(jax.vmap(collides))(start.position, start.yaw, start.scenario.size, start.present)
    assert not hit.any()
    distances = jax.vmap(jax.vmap(drivable_distance, (None, None, 0)), (None, 0, 0))
    inside = jax.jit(distances)(towns, start.map_id, start.position)
    assert (np.asarray(inside)[np.asarray(start.spawned)] > 0).all()
    np.testing.assert_allclose(start.position, start.scenario.route_xyz[:, :, 0])


def test_routes_are_continuous_and_follow_their_heading(start: WorldState) -> None:
    points = np.asarray(start.scenario.route_xyz)[..., :2]
    goals = np.asarray(start.scenario.goal_m)[..., -1]
    steps = np.diff(points, axis=-2)
    length = np.linalg.norm(steps, axis=-1)
    driven = ROUTE_SPACING_M * np.arange(length.shape[-1]) < goals[..., None]  # up to the last goal
    assert length[driven].max() < 2.5 * ROUTE_SPACING_M
    assert abs(np.median(length[driven]) - ROUTE_SPACING_M) < 0.05
    yaw = np.asarray(start.scenario.route_yaw)[..., :-1]
    along = (steps[..., 0] * np.cos(yaw) + steps[..., 1] * np.sin(yaw)) / np.maximum(length, 1e-6)
    assert np.quantile(along[driven], 0.01) > 0.8


def test_goals_lie_apart_as_configured(start: WorldState, small: SimulatorConfig) -> None:
    spacing = np.diff(np.asarray(start.scenario.goal_m), axis=-1)
    cars = np.asarray(start.scenario.speed_gain) >= 1.0
    low, high = small.goal_spacing_m
    assert (spacing[cars] >= low - 1e-3).all()
    assert (spacing[cars] <= high + 1e-3).all()


def test_reset_depends_on_the_key_alone(build: Callable[[Array], WorldState], start: WorldState) -> None:
    same, other = build(jax.random.key(3)), build(jax.random.key(4))
    assert all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(same), strict=True)
    )
    assert not np.array_equal(start.position, other.position)


def test_driving_along_the_route_counts_progress_and_reaches_goals(
    start: WorldState, advance: Callable
) -> None:
    """Moved along its route by hand, an agent reaches its goals in order and vanishes at the last one."""
    state = hold(start)
    goals = np.zeros(start.active.shape, int)
    for station in range(2, 140, 2):
        keep = state.active[..., None]
        state = hold(
            state,
            position=jnp.where(keep, start.scenario.route_xyz[:, :, station], state.position),
            yaw=jnp.where(state.active, start.scenario.route_yaw[:, :, station], state.yaw),
            present=jnp.zeros_like(state.present),  # ghosts: nobody is hit
        )
        state, events = advance(state, all_do(state))
        goals += np.asarray(events.goal)
    assert (goals <= np.asarray(start.scenario.num_goals)).all()
    reached = np.asarray(state.goal_index) == np.asarray(start.scenario.num_goals)
    spawned = np.asarray(start.spawned)
    assert reached[spawned].mean() > 0.9
    assert not np.asarray(state.active)[reached].any()


def test_overlapping_agents_crash_once_and_stay(start: WorldState, advance: Callable) -> None:
    def second_as_first(values: Array) -> Array:
        return values.at[:, 1].set(values[:, 0])

    route = second_as_first(start.scenario.route)  # an agent takes its height from its route
    state = start.replace(scenario=start.scenario.replace(route=route))
    state = hold(state, position=second_as_first(start.position), yaw=second_as_first(start.yaw))
    state = state.replace(spawned=jnp.ones_like(state.spawned), active=jnp.ones_like(state.active))
    state = state.replace(present=jnp.ones_like(state.present))
    after, events = advance(state, all_do(state))
    assert events.collision[:, :2].all()
    assert after.present[:, :2].all()
    assert not after.active[:, :2].any()
    later, events = advance(after, all_do(after, 9))
    assert not events.collision[:, :2].any(), "a crash is counted once"
    np.testing.assert_array_equal(later.position[:, :2], after.position[:, :2])


def test_leaving_the_drivable_area_ends_the_drive(start: WorldState, advance: Callable) -> None:
    away = start.position.at[..., :2].add(5000.0)
    after, events = advance(hold(start, position=away), all_do(start))
    spawned = np.asarray(start.active)
    assert np.asarray(events.offroad)[spawned].all()
    assert not after.active.any()
    np.testing.assert_array_equal(np.asarray(after.offroads)[spawned], 1)


def crossing(
    start: WorldState, towns: RoadAtlas, small: SimulatorConfig, colour: int
) -> tuple[WorldState, int]:
    """A world whose first agent is 0.3 m before a stop line at 8 m/s when its light shows ``colour``."""
    world = jax.tree.map(lambda leaf: leaf[0], start)
    lit = np.flatnonzero(
        (np.asarray(towns.stop_map) == 0) & (np.asarray(towns.stop_kind) == StopKind.TRAFFIC_LIGHT)
    )
    stop = int(lit[0])
    states = jax.jit(lambda w: traffic_lights.light_states(w, jnp.array([stop]), towns, small)[0])
    for step in range(400):
        if int(states(world.replace(step=jnp.int32(step)))) == colour:
            break
    yaw = towns.stop_yaw[stop]
    middle = towns.stop_xyz[stop].mean(axis=0)
    heading = jnp.array([jnp.cos(yaw), jnp.sin(yaw), 0.0])
    place = middle - heading * (0.5 * world.scenario.size[0, 0] + 0.3)
    world = world.replace(
        step=jnp.int32(step),
        position=world.position.at[0].set(place),
        yaw=world.yaw.at[0].set(yaw),
        speed=jnp.zeros_like(world.speed).at[0].set(8.0),
        active=world.active.at[0].set(True),
        present=jnp.zeros_like(world.present),
    )
    return jax.tree.map(lambda leaf: leaf[None], world), stop


@pytest.mark.parametrize(
    ("colour", "charged"),
    [(RED, True), (GREEN, False), (YELLOW, False)],
)
def test_only_red_lights_are_charged(
    start: WorldState, towns: RoadAtlas, small: SimulatorConfig, advance: Callable, colour: int, charged: bool
) -> None:
    world, _ = crossing(start, towns, small, colour)
    _, events = advance(world, all_do(world))
    assert bool(events.red_light[0, 0]) is charged


def test_crossing_a_red_line_backwards_is_not_charged(
    start: WorldState, towns: RoadAtlas, small: SimulatorConfig, advance: Callable
) -> None:
    world, _ = crossing(start, towns, small, RED)
    heading = jnp.array([jnp.cos(world.yaw[0, 0]), jnp.sin(world.yaw[0, 0]), 0.0])
    past = world.replace(
        position=world.position.at[0, 0].add(0.6 * heading), speed=world.speed.at[0, 0].set(-2.0)
    )
    _, events = advance(past, all_do(past))
    assert not events.red_light[0, 0]


def test_never_two_groups_of_a_junction_green_at_once(
    start: WorldState, towns: RoadAtlas, small: SimulatorConfig
) -> None:
    stops = jnp.arange(len(towns.stop_yaw))
    world = jax.tree.map(lambda leaf: leaf[0], start)
    states = jax.jit(lambda step: traffic_lights.light_states(world.replace(step=step), stops, towns, small))
    junction, group = np.asarray(towns.stop_junction), np.asarray(towns.stop_group)
    seen = set()
    for step in range(0, 240, 3):
        going = np.isin(np.asarray(states(jnp.int32(step))), (GREEN, YELLOW))
        seen |= set(np.flatnonzero(going).tolist())
        for j in np.unique(junction[going]):
            assert len(np.unique(group[going & (junction == j)])) == 1
    lit = np.flatnonzero(np.asarray(towns.stop_kind) == StopKind.TRAFFIC_LIGHT)
    assert set(lit.tolist()) == seen, "every light turns green within a minute"


def test_worlds_of_a_batch_never_touch_each_other(start: WorldState, advance: Callable) -> None:
    action = jax.random.randint(jax.random.key(0), start.active.shape, 0, 12)
    together, _ = advance(start, action)
    shuffled = jnp.array([3, 1, 5, 0, 2, 4])
    moved, _ = advance(jax.tree.map(lambda leaf: leaf[shuffled], start), action[shuffled])
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(moved), strict=True):
        np.testing.assert_array_equal(np.asarray(a)[np.asarray(shuffled)], b)


def test_states_are_immutable_so_a_fork_is_a_reference(start: WorldState, advance: Callable) -> None:
    before = [np.array(leaf) for leaf in jax.tree.leaves(start)]
    fork, _ = advance(start, all_do(start, 0))
    advance(fork, all_do(fork, 0))
    for old, leaf in zip(before, jax.tree.leaves(start), strict=True):
        np.testing.assert_array_equal(old, leaf)


def test_jammed_and_finished_worlds_ask_for_a_reset(start: WorldState, small: SimulatorConfig) -> None:
    assert not needs_reset(start, small).any()
    late = start.replace(step=start.step.at[1].set(small.episode_steps))
    jammed = late.replace(active=late.active.at[2, : small.num_agents // 2].set(False))
    np.testing.assert_array_equal(needs_reset(jammed, small), [False, True, True, False, False, False])
    mixed = select_worlds(needs_reset(jammed, small), start, jammed)
    assert not needs_reset(mixed, small).any()


def test_rear_axle_is_behind_the_centre() -> None:
    point = rear_axle(jnp.array([1.0, 2.0, 3.0]), jnp.array(np.pi / 2), jnp.array([5.0, 2.0, 1.5]))
    np.testing.assert_allclose(point, [1.0, 2.0 - 1.5, 3.0], atol=1e-6)


def test_more_agents_than_the_road_can_hold_is_refused(towns: RoadAtlas) -> None:
    with pytest.raises(
        ValueError, match=r"num_agents=5000 is more than the \d+ m of lanes in Town02 can hold"
    ):
        check_capacity(towns, 5000)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"timestep_s": 0.3}, "timestep_s=0.3 must divide 0.5 s"),
        ({"timestep_s": -1.0}, "timestep_s=-1.0 must divide"),
        ({"num_agents": 0}, "num_agents=0 must be at least 1"),
        ({"goal_spacing_m": (50.0, 20.0)}, "two increasing positive distances"),
        ({"kind_shares": (0.5, 0.1, 0.1, 0.1)}, "four shares that add up to 1"),
        ({"no_lights_share": 1.5}, r"no_lights_share=1.5 must lie in \[0, 1\]"),
    ],
)
def test_impossible_settings_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(SimulatorConfig(), **change)


@pytest.mark.parametrize(("radius_m", "passes"), [(8.0, False), (11.0, True)])
def test_routes_of_long_bodies_end_before_bends_they_cannot_steer_through(
    radius_m: float, passes: bool
) -> None:
    """A body of 9 m has a wheelbase of 5.4 m; its rear axle turns at 5.4 / tan(0.55) = 8.8 m, its centre at 9.2 m."""
    turned = np.clip(2.0 * np.arange(60) - 40.0, 0.0, None) / radius_m  # 40 m straight on, then around
    place = np.cumsum(2.0 * np.column_stack([np.cos(turned), np.sin(turned), 0.0 * turned]), axis=0)
    table = route_table(*(jnp.asarray(part, jnp.float32) for part in (place, turned, 0.0 * turned)))
    size = jnp.array([[9.0, 2.5, 3.0], [4.0, 1.8, 1.5]])
    long, short = steerable_m(jnp.stack([table, table]), size)
    assert short == 120.0
    assert (long == 120.0) if passes else (34.0 <= long <= 42.0)
