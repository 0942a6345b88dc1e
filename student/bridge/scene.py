"""World states as renderer scenes: boxes, traffic lights and camera poses, and the student's inputs beside the images.

Data that stay constant while worlds are stepped, the ground and the positions of traffic lights, are put on the device
once (`student.bridge.ground.ground_library`, `light_table`). What a step changes is shared and not copied on the CPU,
and between JAX and torch on the same GPU; `scene_of_worlds` says what is computed anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import Array, Float, Int
from torch import Tensor

from renderer import GroundLibrary, Scene
from simulator import traffic_lights
from simulator.angles import wrap_angle
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.dynamics.bicycle import rear_poses
from simulator.poses import to_frame
from simulator.roads.road_map import StopKind
from simulator.state import WorldState, nearest_station, rear_axle, route_rows
from student.bridge.dlpack import to_torch
from student.observation import (
    COMMAND_LOOKAHEAD_M,
    TARGET_SCALE_M,
    TARGET_SPACING_M,
    command_from_heading_change,
    ego_features,
    one_hot_command,
)

LIGHT_BEYOND_M = 12.0
LIGHT_ASIDE_M = 1.0
LIGHT_HEIGHT_M = 4.5
"""A traffic light hangs 12 m beyond its stop line, 1 m to the right of the line's right end and 4.5 m above it: on the
far side of the junction, as in the United States. From the line, the front camera (63.7 x 38.5 degrees, 1.5 m above the
ground) sees it about 11 degrees above the horizon; a near-side light would be out of view there."""


@dataclass(frozen=True)
class LightTable:
    """The traffic lights of every map of an atlas, padded to the map with the most. Made once, then only read."""

    stops: Int[Array, "maps lights"]  # stop line of the atlas, -1 padding; on JAX's device
    position: Float[Tensor, "maps lights 3"]  # m, world; on the ground's device, as is the yaw
    yaw: Float[Tensor, "maps lights"]  # rad, travel direction of the controlled approach


def light_table(atlas: RoadAtlas, device: torch.device | str = "cpu") -> LightTable:
    """One light per stop line that has a traffic light, beyond its junction (see LIGHT_BEYOND_M); tensors on
    `device`."""
    kind, junction = np.asarray(atlas.stop_kind), np.asarray(atlas.stop_junction)
    lit = (kind == int(StopKind.TRAFFIC_LIGHT)) & (junction >= 0)
    stop_map = np.asarray(atlas.stop_map)
    per_map = [np.flatnonzero(lit & (stop_map == index)) for index in range(atlas.num_maps)]
    stops = np.full((atlas.num_maps, max(1, *(len(found) for found in per_map))), -1, np.int32)
    for row, found in zip(stops, per_map, strict=True):
        row[: len(found)] = found
    yaw = np.asarray(atlas.stop_yaw)[stops]
    right_end = np.asarray(atlas.stop_xyz)[stops, 1]
    ahead = np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=-1)
    right = np.stack([np.sin(yaw), -np.cos(yaw), np.zeros_like(yaw)], axis=-1)
    position = (
        right_end + LIGHT_BEYOND_M * ahead + LIGHT_ASIDE_M * right + np.array([0.0, 0.0, LIGHT_HEIGHT_M])
    )
    tables = (torch.from_numpy(table.astype(np.float32)).to(device) for table in (position, yaw))
    return LightTable(jnp.asarray(stops), *tables)


@dataclass(frozen=True)
class RenderInputs:
    """What the renderer and the student need of batched worlds at one step and the state does not hold."""

    box_class: Array  # [worlds, agents] i32, index into renderer.palette.BOX_CLASSES, -1 absent
    light_state: Array  # [worlds, lights] i32, renderer.palette.LightState
    world_from_rig: Array  # [worlds, agents, 4, 4], rear axle on the ground
    heading_change: Array  # [worlds, agents] rad along the route ahead, left positive; NaN at the route's end


jax.tree_util.register_dataclass(RenderInputs)


def render_inputs(
    state: WorldState, stops: Int[Array, "maps lights"], atlas: RoadAtlas, config: SimulatorConfig
) -> RenderInputs:
    """The render inputs of batched worlds, computed in JAX; `stops` are `LightTable.stops`."""
    box_class = jnp.where(state.present, state.scenario.kind, -1)
    own_stops = stops[state.map_id]
    light_state = jax.vmap(traffic_lights.light_states, (0, 0, None, None))(state, own_stops, atlas, config)
    axle = rear_axle(state.position, state.yaw, state.scenario.size)
    change = jax.vmap(jax.vmap(heading_change))(state.scenario.route_yaw, state.route_m)
    return RenderInputs(box_class, light_state, _upright_poses(axle, state.yaw), change)


def heading_change(route_yaw: Float[Array, " stations"], route_m: Float[Array, ""]) -> Float[Array, ""]:
    """Largest signed heading change of a route within COMMAND_LOOKAHEAD_M after `route_m`, rad, left positive.

    The largest and not the last: in an S bend, or after a junction, the route may end in the direction in which it
    began. NaN at the end of the route, where nothing lies ahead.
    """
    last = route_yaw.shape[0] - 1
    here = jnp.clip(jnp.round(route_m / ROUTE_SPACING_M).astype(jnp.int32), 0, last)
    ahead = here + jnp.arange(1, round(COMMAND_LOOKAHEAD_M / ROUTE_SPACING_M) + 1)
    change = wrap_angle(route_yaw[jnp.minimum(ahead, last)] - route_yaw[here])
    return jnp.where(here < last, change[jnp.argmax(jnp.abs(change))], jnp.nan)


@partial(jax.jit, static_argnames="points")
def target_points(state: WorldState, points: int) -> Float[Array, "worlds agents points 2"]:
    """So many points of each agent's route of batched worlds, as `student.observation.Observation` holds them; beyond
    the end of a route they are on a straight line from there."""

    def of_world(world: WorldState) -> Float[Array, "agents points 2"]:
        along = world.route_m[:, None] + TARGET_SPACING_M * jnp.arange(1, points + 1)
        station = nearest_station(world.scenario, along)
        x, y, cos, sin, _, _ = jnp.moveaxis(route_rows(world.scenario, station), -1, 0)
        beyond = along - ROUTE_SPACING_M * station
        poses = jnp.stack([x + beyond * cos, y + beyond * sin, jnp.zeros_like(x)], axis=-1)
        return to_frame(poses, rear_poses(world)[:, None])[..., :2] / TARGET_SCALE_M

    return jax.vmap(of_world)(state)


def _upright_poses(origin: Float[Array, "*n 3"], yaw: Float[Array, "*n"]) -> Float[Array, "*n 4 4"]:
    """Pose matrices of frames at `origin` (m) whose z axis points up and whose heading is `yaw` (rad)."""
    cos, sin, zero, one = jnp.cos(yaw), jnp.sin(yaw), jnp.zeros_like(yaw), jnp.ones_like(yaw)
    rows = [
        jnp.stack([cos, -sin, zero, origin[..., 0]], axis=-1),
        jnp.stack([sin, cos, zero, origin[..., 1]], axis=-1),
        jnp.stack([zero, zero, one, origin[..., 2]], axis=-1),
        jnp.stack([zero, zero, zero, one], axis=-1),
    ]
    return jnp.stack(rows, axis=-2)


def scene_of_worlds(
    state: WorldState,
    inputs: RenderInputs,
    table: LightTable,
    ground: GroundLibrary,
    viewers: Int[Tensor, " viewers"],
) -> Scene:
    """Batched worlds as a scene seen by some agents; `viewers` are flat indices world * agents + agent.

    Everything lies on the ground's device, where `table` has to lie too; viewers that lie there are not moved. Where
    JAX's arrays lie there as well, the scene shares positions, sizes and yaws of boxes with the state, so they must not
    be written to. New tensors are the integers, which a `Scene` holds as int64, the viewers' poses, and the lights of
    each world's map, selected from the table on the device. Nothing is copied to the host.
    """
    worlds, agents = inputs.box_class.shape
    device = ground.device
    map_id = to_torch(state.map_id).to(device, torch.int64)
    viewers = viewers.to(device)
    return Scene(
        box_position=to_torch(state.position).to(device),
        box_size=to_torch(state.scenario.size).to(device),
        box_yaw=to_torch(state.yaw).to(device),
        box_class=to_torch(inputs.box_class).to(device, torch.int64),
        light_position=table.position[map_id],
        light_yaw=table.yaw[map_id],
        light_state=to_torch(inputs.light_state).to(device, torch.int64),
        ground=ground,
        map_id=map_id,
        viewer_world=viewers // agents,
        viewer_box=viewers % agents,
        world_from_rig=to_torch(inputs.world_from_rig).to(device).view(worlds * agents, 4, 4)[viewers],
    )


def ego_inputs(
    state: WorldState, inputs: RenderInputs
) -> tuple[Float[Tensor, "agents ego"], Float[Tensor, "agents 4"], Float[Tensor, "agents conditioning"]]:
    """Ego vector, command and reward conditioning of all agents of batched worlds, as `student.observation.Observation`
    holds them; rows are world * agents + agent, on JAX's device."""
    motion = [state.speed, state.acceleration, state.lateral_acceleration, state.steering]
    speed, acceleration, lateral_acceleration, steering = (to_torch(part).flatten() for part in motion)
    size = to_torch(state.scenario.size).flatten(0, 1)
    ego = ego_features(speed, acceleration, lateral_acceleration, steering, size)
    command = one_hot_command(command_from_heading_change(to_torch(inputs.heading_change).flatten()))
    traits = to_torch(state.scenario.traits).flatten(0, 1)
    return ego, command, 2.0 * traits - 1.0
