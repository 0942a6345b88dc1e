"""JAX and torch share memory; a town becomes ground, lights and pictures that a driver can use."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from renderer import CameraRig, ClassId, render
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.roads.sources.map_cache import load_atlas, load_maps
from simulator.state import WorldState
from student import bridge

TOWN = "Town02"
RULES = SimulatorConfig(timestep_s=0.25, num_agents=6, no_lights_share=0.0, removed_light_share=0.0)


@pytest.fixture(scope="module")
def atlas() -> RoadAtlas:
    return load_atlas([TOWN])


@pytest.fixture(scope="module")
def worlds(atlas: RoadAtlas) -> WorldState:
    """Two worlds of six agents just after a reset."""
    from simulator.reset.spawn import reset

    fresh = jax.jit(reset, static_argnums=3)
    states = [fresh(jax.random.key(seed), atlas, jnp.int32(0), RULES) for seed in (3, 4)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def test_memory_is_shared_both_ways() -> None:
    for array in (jnp.arange(12, dtype=jnp.float32), jnp.ones((3, 4), bool), jnp.arange(6, dtype=jnp.int32)):
        tensor = bridge.to_torch(array)
        assert tensor.data_ptr() == array.unsafe_buffer_pointer()
        np.testing.assert_array_equal(tensor.numpy(), np.asarray(array))
    tensor = torch.arange(24.0).reshape(2, 3, 4)
    array = bridge.to_jax(tensor)
    assert array.unsafe_buffer_pointer() == tensor.data_ptr()
    np.testing.assert_array_equal(np.asarray(array), tensor.numpy())


def test_heading_change_by_hand() -> None:
    """A left quarter turn that begins 20 m ahead, seen from before it, within it and after it."""
    yaw = jnp.concatenate([jnp.full(20, 3.0), jnp.full(20, 3.0 + math.pi / 2 - 2 * math.pi)])
    turn_m = 20 * ROUTE_SPACING_M
    change = [
        float(bridge.heading_change(yaw, jnp.float32(at))) for at in (turn_m - 50, turn_m - 20, turn_m + 2)
    ]
    np.testing.assert_allclose(change, [0.0, math.pi / 2, 0.0], atol=1e-5)
    assert math.isnan(float(bridge.heading_change(yaw, jnp.float32(39 * ROUTE_SPACING_M))))


def test_a_light_is_in_view_of_whoever_waits_at_its_line(atlas: RoadAtlas) -> None:
    """Front bumper 1 m before the line, in the lane next to the line's right end, whatever the car's length."""
    table = bridge.light_table(atlas)
    rig = CameraRig.nuplan(54, 96).select(["front"])
    assert (table.stops >= 0).sum() > 10
    for stop, light in zip(np.asarray(table.stops[0]), table.position[0].numpy(), strict=True):
        if stop < 0:
            continue
        yaw = float(atlas.stop_yaw[stop])
        forward, right = np.array([math.cos(yaw), math.sin(yaw)]), np.array([math.sin(yaw), -math.cos(yaw)])
        right_end = np.asarray(atlas.stop_xyz)[stop, 1]
        for length in (3.8, 9.0):
            axle = right_end[:2] - 1.7 * right - (1.0 + 0.8 * length) * forward
            seen = light - np.array([*axle, right_end[2]])
            point = torch.tensor([[seen[:2] @ forward, -seen[:2] @ right, seen[2]]], dtype=torch.float32)
            pixel, depth = rig.project(point)
            assert depth > 0
            assert 0 < pixel[0, 0, 0] < 96
            assert 0 < pixel[0, 0, 1] < 54


def test_who_drives_on_the_road_sees_road(atlas: RoadAtlas, worlds: WorldState) -> None:
    """The middle of the bottom row of the front camera shows paint or asphalt; a box never shows its own car."""
    table = bridge.light_table(atlas)
    seen = bridge.drawable(worlds, table.stops, atlas, RULES)
    viewers = torch.from_numpy(np.flatnonzero(np.asarray(worlds.active)))
    scene = bridge.scene(worlds, seen, table, bridge.ground_library(load_maps([TOWN])), viewers)
    scene.validate()
    assert (scene.light_state > 0).sum() > 10
    frame = render(scene, CameraRig.nuplan(54, 96))
    bottom = frame.class_id[:, 0, -1, 48]
    assert ((bottom >= ClassId.DRIVABLE) & (bottom <= ClassId.STOP_LINE)).float().mean() > 0.9
    nearest = frame.depth[:, 0].flatten(1).amin(1)
    assert (nearest > 0.5).all(), "the own body would be in front of the camera"


def test_a_scene_shares_what_moves_and_keeps_what_does_not(atlas: RoadAtlas, worlds: WorldState) -> None:
    """Boxes are the state's own memory; lights are picked from the table; JAX and the host exchange nothing."""
    table, ground = bridge.light_table(atlas), bridge.ground_library(load_maps([TOWN]))
    viewers = torch.tensor([7, 2])
    with jax.transfer_guard("disallow"):
        seen = jax.jit(bridge.drawable, static_argnums=3)(worlds, table.stops, atlas, RULES)
        scene = bridge.scene(worlds, seen, table, ground, viewers)
    for shared, array in (
        (scene.box_position, worlds.position),
        (scene.box_size, worlds.scenario.size),
        (scene.box_yaw, worlds.yaw),
    ):
        assert shared.data_ptr() == array.unsafe_buffer_pointer()
    assert scene.ground is ground
    assert scene.viewer_world.tolist() == [1, 0]
    assert scene.viewer_box.tolist() == [1, 2]
    for world in range(2):
        assert torch.equal(scene.light_position[world], table.position[0])
        assert torch.equal(scene.light_yaw[world], table.yaw[0])
    poses = np.asarray(seen.world_from_rig).reshape(12, 4, 4)[[7, 2]]
    np.testing.assert_array_equal(scene.world_from_rig.numpy(), poses)


def test_command_follows_the_route(atlas: RoadAtlas, worlds: WorldState) -> None:
    """Over both worlds the one-hot command agrees with the sign of the route's bend."""
    table = bridge.light_table(atlas)
    seen = bridge.drawable(worlds, table.stops, atlas, RULES)
    ego, command, conditioning = bridge.ego_inputs(worlds, seen)
    change = np.degrees(np.asarray(seen.heading_change)).ravel()
    expected = np.where(change > 25, 0, np.where(change < -25, 2, 1))
    np.testing.assert_array_equal(command.argmax(1).numpy(), expected)
    np.testing.assert_allclose(ego[:, 0].numpy() * 10, np.asarray(worlds.speed).ravel(), rtol=1e-5)
    assert conditioning.abs().max() <= 1
