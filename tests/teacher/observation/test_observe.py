"""Observations depend on the surroundings alone: not on the orientation of the map, the order of agents or other worlds
of the batch."""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.draw_state import world_of
from simulator.rollout import reset_worlds
from simulator.state import WorldState, route_table
from teacher.observation.observe import OBSERVATIONS, Observation, ObservationConfig, observe

SIMULATOR = SimulatorConfig(timestep_s=0.25, num_agents=6)
CONFIG = ObservationConfig(others=4)
Look = Callable[[WorldState], Observation]


@pytest.fixture(scope="module")
def town() -> RoadAtlas:
    return load_atlas(["Town02"])


@pytest.fixture(scope="module")
def world(town: RoadAtlas) -> WorldState:
    build = jax.jit(partial(reset_worlds, config=SIMULATOR, num_worlds=1))
    return world_of(build(jax.random.key(5), town), 0)


@pytest.fixture(scope="module")
def look(town: RoadAtlas) -> Look:
    return jax.jit(lambda state: observe(state, town, SIMULATOR, CONFIG))


def turned_town(atlas: RoadAtlas, angle: float) -> Callable[[Array], Array]:
    """Rotation of plane points about the origin."""
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = jnp.array([[cos, -sin], [sin, cos]], jnp.float32)
    return lambda points: points.at[..., :2].set(points[..., :2] @ rotation.T)


def test_everything_is_finite_and_scaled(world: WorldState, look: Look) -> None:
    for leaf in jax.tree.leaves(look(world)):
        assert jnp.isfinite(leaf * 1.0).all()
        assert jnp.abs(leaf * 1.0).max() < 10.0


def test_agents_and_route_do_not_depend_on_where_north_is(
    world: WorldState, look: Look, town: RoadAtlas
) -> None:
    """Turning agents, routes and lanes together changes nothing in what does not come from the baked grids."""
    angle = 0.7
    turn = turned_town(town, angle)
    old = world.scenario
    route = route_table(turn(old.route_xyz), old.route_yaw + angle, old.route[..., 5])
    scenario = old.replace(route=route)
    turned = world.replace(position=turn(world.position), yaw=world.yaw + angle, scenario=scenario)
    before, after = look(world), look(turned)
    np.testing.assert_allclose(before.route, after.route, atol=2e-4)
    np.testing.assert_allclose(before.others, after.others, atol=2e-4)
    np.testing.assert_array_equal(before.others_mask, after.others_mask)
    np.testing.assert_allclose(before.ego[:, :16], after.ego[:, :16], atol=2e-4)


def test_a_car_ahead_is_seen_ahead(world: WorldState, look: Look) -> None:
    """Hand arithmetic: a car 15 m ahead and 3 m to the left, driving the same way 4 m/s faster."""
    heading = jnp.array([jnp.cos(world.yaw[0]), jnp.sin(world.yaw[0]), 0.0])
    left = jnp.array([-heading[1], heading[0], 0.0])
    far = world.position.at[2:].add(1000.0).at[1].set(world.position[0] + 15.0 * heading + 3.0 * left)
    state = world.replace(
        position=far,
        yaw=world.yaw.at[1].set(world.yaw[0]),
        speed=world.speed.at[0].set(5.0).at[1].set(9.0),
        present=jnp.ones_like(world.present),
    )
    seen = look(state)
    np.testing.assert_array_equal(seen.others_mask[0], [True, False, False, False])
    np.testing.assert_allclose(seen.others[0, 0, :4], [15 / 30, 3 / 30, 1.0, 0.0], atol=1e-4)
    np.testing.assert_allclose(seen.others[0, 0, [4, 5, 8]], [0.4, 0.0, 0.9], atol=1e-4)


def test_lanes_and_edges_by_plain_arithmetic(world: WorldState, town: RoadAtlas) -> None:
    """Every lane sample and edge seen is one of the town's, moved into the driver's frame the long way round."""
    seen = jax.jit(lambda state: observe(state, town, SIMULATOR, OBSERVATIONS["lean"]))(world)
    tables = {"lanes": (town.sample_pose, 1.0), "edges": (town.edge_line, 2.5)}
    for name, (table, unit) in tables.items():
        table = np.asarray(table, np.float64)
        for agent in np.flatnonzero(world.present):
            x, y, z = np.asarray(world.position[agent], np.float64)
            forward = np.array([np.cos(world.yaw[agent]), np.sin(world.yaw[agent])])
            left = np.array([-forward[1], forward[0]])
            there = table[:, :2] - [x, y]
            along = table[:, 2:4] / unit
            pairs = (there @ forward / 30, there @ left / 30, along @ forward, along @ left)
            by_hand = np.column_stack([*pairs, (table[:, 4] - z) / 4])
            mask = np.asarray(getattr(seen, f"{name}_mask")[agent])
            shown = np.asarray(getattr(seen, name)[agent])
            assert mask.any()
            assert not shown[~mask].any()
            apart = np.abs(shown[mask][:, None] - by_hand[None]).max(axis=-1).min(axis=1)
            assert apart.max() < 1e-4


def test_edges_by_their_nearest_points(world: WorldState, look: Look, town: RoadAtlas) -> None:
    """The nearest edge seen is as far away as the nearest of all the town's segments by plain arithmetic."""
    line = np.asarray(town.edge_line, np.float64)
    seen = look(world)
    for agent in np.flatnonzero(world.present):
        away = line[:, :2] - np.asarray(world.position[agent, :2], np.float64)
        share = -(away * line[:, 2:4]).sum(1) / (line[:, 2:4] ** 2).sum(1)
        apart = np.linalg.norm(away + np.clip(share, -1, 1)[:, None] * line[:, 2:4], axis=1)
        shown = 30.0 * np.linalg.norm(
            np.asarray(seen.edges)[agent, np.asarray(seen.edges_mask)[agent], :2], axis=1
        )
        np.testing.assert_allclose(shown.min(), apart.min(), atol=1e-3)
        np.testing.assert_allclose(np.sum(np.asarray(seen.edges)[agent, 0, 2:] ** 2), 1.0, atol=1e-4)


def test_absent_agents_and_other_levels_are_not_seen(world: WorldState, look: Look) -> None:
    near = world.replace(
        position=world.position.at[:].set(
            world.position[0] + jnp.arange(6)[:, None] * jnp.array([6.0, 0, 0])
        ),
        present=jnp.ones_like(world.present).at[1].set(False),
    )
    bridge = near.replace(position=near.position.at[2, 2].add(8.0))
    assert look(near).others_mask[0].sum() == 4
    assert look(bridge).others_mask[0].sum() == 3


def test_the_order_of_agents_does_not_matter(world: WorldState, look: Look) -> None:
    order = jnp.array([0, 5, 3, 1, 2, 4])

    def permuted(leaf: Array) -> Array:
        return leaf[order] if leaf.ndim and leaf.shape[0] == 6 else leaf

    before, after = look(world), look(jax.tree.map(permuted, world))
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(np.asarray(a)[np.asarray(order)] * 1.0, b * 1.0, atol=1e-6)


def test_the_next_red_light_on_the_route_is_announced(town: RoadAtlas) -> None:
    """Put a car on a route that crosses a lit stop line 20 m ahead: distance and colour are those of that line."""
    simulator = SimulatorConfig(
        num_agents=6, no_lights_share=0.0, removed_light_share=0.0, always_green_share=0.0
    )
    world = world_of(
        jax.jit(partial(reset_worlds, config=simulator, num_worlds=1))(jax.random.key(1), town), 0
    )
    stop = int(np.flatnonzero(np.asarray(town.stop_junction) >= 0)[0])
    middle, yaw = town.stop_xyz[stop].mean(axis=0), town.stop_yaw[stop]
    ahead = jnp.array([jnp.cos(yaw), jnp.sin(yaw), 0.0])
    front_m = 20.0
    start = middle - ahead * (front_m + 0.5 * world.scenario.size[0, 0])
    old = world.scenario
    xyz = start + jnp.arange(old.route.shape[1])[:, None] * 2.0 * ahead
    route = route_table(xyz, jnp.full(len(xyz), yaw), old.route[..., 5][0])
    scenario = old.replace(route=old.route.at[0].set(route))
    world = world.replace(
        scenario=scenario,
        position=world.position.at[0].set(start),
        yaw=world.yaw.at[0].set(yaw),
        route_m=jnp.zeros_like(world.route_m),
    )
    look = jax.jit(lambda state: observe(state, town, simulator, CONFIG).ego[0, -8:])
    colours = set()
    for step in range(0, 320, 10):
        light = look(world.replace(step=jnp.int32(step)))
        np.testing.assert_allclose(light[6], front_m / 30.0, atol=0.02)
        colours.add(int(jnp.argmax(light[:6])))
        assert light[7] == 0.0
    assert colours == {1, 2, 3}, "green, yellow and red, never off"
    signs = dataclasses.replace(simulator, all_way_stop_share=1.0)
    halted = world.replace(has_stopped_at_sign=world.has_stopped_at_sign.at[0].set(True))
    sign = jax.jit(lambda state: observe(state, town, signs, CONFIG))(halted)
    np.testing.assert_allclose(sign.ego[0, -8:], [0, 0, 0, 0, 1, 0, front_m / 30.0, 1], atol=0.02)
    nearest = sign.stops[0, jnp.argmax(sign.stops_mask[0])]
    np.testing.assert_array_equal(nearest[5:], [0, 0, 0, 0, 1, 0])


def test_dropout_leaves_out_its_share_and_follows_from_the_state(world: WorldState, town: RoadAtlas) -> None:
    counts = {"lanes": 40, "edges": 40, "others": 4}
    full = ObservationConfig(**counts)
    config = dataclasses.replace(full, lane_dropout=0.5, edge_dropout=0.4, goal_dropout=0.5)
    look = jax.jit(jax.vmap(lambda state: observe(state, town, SIMULATOR, config)))
    times = jnp.arange(50, dtype=jnp.int32)
    worlds = jax.vmap(lambda step: world.replace(step=step))(times)
    seen, again = look(worlds), look(worlds)
    whole = jax.jit(lambda state: observe(state, town, SIMULATOR, full))(world)
    for name, share in (("lanes", 0.5), ("edges", 0.6)):
        mask = np.asarray(getattr(seen, f"{name}_mask"))[:, np.asarray(getattr(whole, f"{name}_mask"))]
        np.testing.assert_allclose(mask.mean(), share, atol=0.02)  # of about 10,000
        assert (mask.any(axis=0) & ~mask.all(axis=0)).all(), "drawn anew in every step"
        np.testing.assert_array_equal(getattr(seen, name), getattr(again, name))
    goals = np.asarray(seen.route)[..., -2:]
    assert (goals == goals[:1]).all(), "for a whole episode"
    traits = jax.random.uniform(jax.random.key(9), (300, *world.scenario.traits.shape))
    others = jax.vmap(lambda some: world.replace(scenario=world.scenario.replace(traits=some)))(traits)
    told = np.asarray(look(others).route)[..., -2][:, np.asarray(whole.route)[:, -2] > 0]
    np.testing.assert_allclose(told.mean(), 0.5, atol=0.06)  # of about 1,800: five standard deviations
    assert config.without_dropout() == full


def test_only_the_critic_is_told_the_time(world: WorldState, town: RoadAtlas) -> None:
    config = dataclasses.replace(CONFIG, critic_time=True)
    late = world.replace(step=jnp.int32(180))  # of 240
    seen = jax.jit(lambda state: observe(state, town, SIMULATOR, config))(late)
    np.testing.assert_allclose(seen.critic_time, 0.25, rtol=1e-6)
    assert observe(late, town, SIMULATOR, CONFIG).critic_time is None


def test_who_stands_behind_a_lorry_is_hidden(world: WorldState, town: RoadAtlas) -> None:
    """Along a line: the own car, a truck 12 m ahead, a car 24 m ahead behind it; and one 20 m to the left."""
    heading = jnp.array([jnp.cos(world.yaw[0]), jnp.sin(world.yaw[0]), 0.0])
    left = jnp.array([-heading[1], heading[0], 0.0])
    here = world.position[0]
    size = world.scenario.size.at[:].set(jnp.array([4.5, 1.8, 1.5])).at[1].set(jnp.array([9.0, 2.5, 3.4]))
    places = jnp.stack([here, here + 12 * heading, here + 24 * heading, here + 20 * left, here, here])
    state = world.replace(
        position=places,
        yaw=jnp.full(6, world.yaw[0]),
        present=jnp.arange(6) < 4,
        scenario=world.scenario.replace(size=size),
    )
    config = dataclasses.replace(CONFIG, others=2, hide_occluded=True)
    look = jax.jit(lambda state: observe(state, town, SIMULATOR, config))

    def distances(state: WorldState) -> list[float]:
        seen = look(state)
        away = 30.0 * np.linalg.norm(np.asarray(seen.others)[0, :, :2], axis=-1)
        return sorted(np.round(away[np.asarray(seen.others_mask)[0]].astype(float), 3).tolist())

    assert distances(state) == [12.0, 20.0]
    aside = state.replace(
        position=state.position.at[2].add(3.5 * left)
    )  # pulls out: it comes into view, is nearest
    assert distances(aside.replace(present=jnp.array([True, True, True, False, False, False]))) == [
        12.0,
        round(float(np.hypot(24.0, 3.5)), 3),
    ]
    low = state.replace(scenario=state.scenario.replace(size=size.at[1, 2].set(1.2)))
    assert distances(low.replace(present=jnp.arange(6) < 3)) == [12.0, 24.0], "seen over a low car"
    assert distances(state.replace(present=jnp.arange(6) < 3)) == [12.0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"lanes": 101}, "lanes=101 must lie between 1 and 100"),
        ({"agent_range_m": 0.0}, "agent_range_m=0.0 must be"),
    ],
)
def test_impossible_counts_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ObservationConfig(**change)
