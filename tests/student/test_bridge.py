"""JAX and torch share memory; a town becomes ground, traffic lights and images that an agent can drive by."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shapely
import torch

from renderer import CameraRig, ClassId, GroundMesh, render
from renderer.palette import BOX_CLASSES, LightState
from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.conventions import CAR, CYCLIST, GREEN, KIND_NAMES, OFF, PEDESTRIAN, RED, STATIC, TRUCK, YELLOW
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.state import WorldState
from student.bridge.dlpack import to_jax, to_torch
from student.bridge.ground import ground_library, ground_mesh
from student.bridge.scene import ego_inputs, heading_change, light_table, render_inputs, scene_of_worlds

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
        tensor = to_torch(array)
        assert tensor.data_ptr() == array.unsafe_buffer_pointer()
        np.testing.assert_array_equal(tensor.numpy(), np.asarray(array))
    tensor = torch.arange(24.0).reshape(2, 3, 4)
    array = to_jax(tensor)
    assert array.unsafe_buffer_pointer() == tensor.data_ptr()
    np.testing.assert_array_equal(np.asarray(array), tensor.numpy())


def test_heading_change_by_hand() -> None:
    """A left quarter turn that begins 20 m ahead, measured before it, within it and after it."""
    yaw = jnp.concatenate([jnp.full(20, 3.0), jnp.full(20, 3.0 + math.pi / 2 - 2 * math.pi)])
    turn_m = 20 * ROUTE_SPACING_M
    change = [float(heading_change(yaw, jnp.float32(at))) for at in (turn_m - 50, turn_m - 20, turn_m + 2)]
    np.testing.assert_allclose(change, [0.0, math.pi / 2, 0.0], atol=1e-5)
    assert math.isnan(float(heading_change(yaw, jnp.float32(39 * ROUTE_SPACING_M))))


def test_a_light_is_in_view_of_a_car_that_waits_at_its_line(atlas: RoadAtlas) -> None:
    """Front bumper 1 m before the line, in the lane next to the line's right end, whatever the car's length."""
    table = light_table(atlas)
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
            offset = light - np.array([*axle, right_end[2]])
            point = torch.tensor(
                [[offset[:2] @ forward, -offset[:2] @ right, offset[2]]], dtype=torch.float32
            )
            pixel, depth = rig.project(point)
            assert depth > 0
            assert 0 < pixel[0, 0, 0] < 96
            assert 0 < pixel[0, 0, 1] < 54


def test_an_agent_on_the_road_sees_road(atlas: RoadAtlas, worlds: WorldState) -> None:
    """The centre of the bottom row of the front camera shows paint or asphalt; no camera shows its own car."""
    table = light_table(atlas)
    inputs = render_inputs(worlds, table.stops, atlas, RULES)
    viewers = torch.from_numpy(np.flatnonzero(np.asarray(worlds.active)))
    scene = scene_of_worlds(worlds, inputs, table, ground_library(load_maps([TOWN])), viewers)
    scene.validate()
    assert (scene.light_state > 0).sum() > 10
    frame = render(scene, CameraRig.nuplan(54, 96))
    bottom = frame.class_id[:, 0, -1, 48]
    assert ((bottom >= ClassId.DRIVABLE) & (bottom <= ClassId.STOP_LINE)).float().mean() > 0.9
    nearest = frame.depth[:, 0].flatten(1).amin(1)
    assert (nearest > 0.5).all(), "the agent's own box would be in front of its camera"


def test_a_scene_shares_boxes_and_picks_lights_without_a_transfer(
    atlas: RoadAtlas, worlds: WorldState
) -> None:
    """Boxes share memory with the state; lights come from the table; JAX and the host exchange nothing."""
    table, ground = light_table(atlas), ground_library(load_maps([TOWN]))
    viewers = torch.tensor([7, 2])
    with jax.transfer_guard("disallow"):
        inputs = jax.jit(render_inputs, static_argnums=3)(worlds, table.stops, atlas, RULES)
        scene = scene_of_worlds(worlds, inputs, table, ground, viewers)
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
    poses = np.asarray(inputs.world_from_rig).reshape(12, 4, 4)[[7, 2]]
    np.testing.assert_array_equal(scene.world_from_rig.numpy(), poses)


def test_command_follows_the_route(atlas: RoadAtlas, worlds: WorldState) -> None:
    """Over both worlds the one-hot command agrees with the sign of the route's bend."""
    table = light_table(atlas)
    inputs = render_inputs(worlds, table.stops, atlas, RULES)
    ego, command, conditioning = ego_inputs(worlds, inputs)
    change = np.degrees(np.asarray(inputs.heading_change)).ravel()
    expected = np.where(change > 25, 0, np.where(change < -25, 2, 1))
    np.testing.assert_array_equal(command.argmax(1).numpy(), expected)
    np.testing.assert_allclose(ego[:, 0].numpy() * 10, np.asarray(worlds.speed).ravel(), rtol=1e-5)
    assert conditioning.abs().max() <= 1


def test_simulator_and_renderer_number_kinds_and_lights_alike() -> None:
    """The bridge hands over integers as they are: kinds index BOX_CLASSES, a light's colours are LightState."""
    names = {CAR: "car", TRUCK: "truck", CYCLIST: "cyclist", PEDESTRIAN: "pedestrian", STATIC: "static"}
    assert [names[kind] for kind in range(len(BOX_CLASSES))] == [one.name.lower() for one in BOX_CLASSES]
    assert tuple(names[kind] for kind in range(len(KIND_NAMES))) == KIND_NAMES
    assert {state.name: int(state) for state in LightState} == {
        "NONE": OFF, "GREEN": GREEN, "YELLOW": YELLOW, "RED": RED,
    }  # fmt: skip


def test_ground_is_cached_per_map_content_and_a_damaged_entry_is_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (town,) = load_maps([TOWN])
    monkeypatch.setenv("GIGAPIXEL_CACHE", str(tmp_path))
    first = ground_library([town])
    (entry,) = tmp_path.glob("ground-*.pt")
    written = entry.stat().st_mtime_ns
    assert torch.equal(ground_library([town]).quads, first.quads)
    assert entry.stat().st_mtime_ns == written, "the second call should read the entry"
    entry.write_bytes(b"damaged")
    assert torch.equal(ground_library([town]).quads, first.quads)
    raised = ground_library([replace(town, edge_points=town.edge_points + np.float32(0.5))])
    assert len(list(tmp_path.glob("ground-*.pt"))) == 2
    assert not torch.equal(raised.quads, first.quads)


def test_ground_meshes_are_made_without_jax() -> None:
    program = "import sys, student.bridge.ground; sys.exit('jax' in sys.modules or 'flax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def drawn_asphalt(road_map: RoadMap) -> tuple[shapely.Geometry, GroundMesh]:
    """What is drawn as asphalt, in the plane, and the whole mesh."""
    mesh = ground_mesh(road_map)
    quads = np.asarray(mesh.quads)[np.asarray(mesh.class_id) == int(ClassId.DRIVABLE)]
    return shapely.union_all([shapely.make_valid(shapely.Polygon(quad[:, :2])) for quad in quads]), mesh


@pytest.mark.parametrize("name", ["Town02", "Town03", "Made-1"])
def test_all_that_is_drivable_is_asphalt(name: str) -> None:
    """Towns list the outlines of their lanes and islands, in Town03 mixed; a made town one surface for all lanes."""
    road_map = load_maps([name])[0]
    rings = [shapely.make_valid(shapely.Polygon(ring[:, :2])) for ring in road_map.pieces("drivable")]
    area = shapely.union_all(rings)
    drawn, _ = drawn_asphalt(road_map)
    assert shapely.difference(area, drawn).area < 5e-4 * area.area
    assert shapely.difference(drawn, area.buffer(0.15)).area < 5e-4 * area.area


def test_a_surface_without_lanes_of_its_own_follows_their_slope() -> None:
    """A ring that touches itself, around the first lane of a town that is tilted: all is drawn, at its height."""
    flat = load_maps(["Town02"])[0]
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.06, 0.03, 1.0]], np.float32).T
    lane = slice(flat.lane_start[0], flat.lane_start[0] + flat.lane_count[0])
    left, right = flat.point_left_xyz @ tilt, flat.point_right_xyz @ tilt
    low, high = left[lane].min(axis=0) - 4.0, left[lane].max(axis=0) + 4.0
    middle = (low + high) / 2
    corners = [low[:2], [high[0], low[1]], high[:2], middle[:2], [low[0], high[1]], middle[:2]]
    ring = np.column_stack([corners, np.array(corners) @ [0.06, 0.03]]).astype(np.float32)
    tilted = replace(
        flat,
        point_left_xyz=left,
        point_right_xyz=right,
        drivable_points=ring,
        drivable_start=np.array([0], np.int32),
        drivable_count=np.array([len(ring)], np.int32),
    )
    drawn, mesh = drawn_asphalt(tilted)
    surface = shapely.make_valid(shapely.Polygon(ring[:, :2]))
    assert shapely.difference(surface, drawn).area < 1e-3 * surface.area
    quads = np.asarray(mesh.quads)[np.asarray(mesh.class_id) == int(ClassId.DRIVABLE)]
    np.testing.assert_allclose(quads[..., 2], quads[..., :2] @ [0.06, 0.03], atol=0.06)
