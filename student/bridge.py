"""Where JAX and torch meet: arrays by DLPack, a road map as painted ground, a world's state as a scene.

Besides `student/pixel_world.py` this is the only file of the room that knows the simulator.

What never changes while worlds are driven, painted ground and where traffic lights hang, is put on the device once
(`ground_library`, `light_table`). What a step changes is shared and not copied on the CPU, and between JAX and torch on
the same GPU; `scene` says what is computed from it anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import Array, Float, Int
from torch import Tensor

from renderer import (
    ClassId,
    GroundLibrary,
    GroundMesh,
    Scene,
    dashed_quads,
    ground_quads,
    polygon_quads,
    ribbon_quads,
    strip_quads,
    zebra_quads,
)
from simulator import traffic_lights
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.dynamics.bicycle import wrap_angle
from simulator.roads.road_map import MarkingType, RoadMap, StopKind
from simulator.roads.sources.map_cache import cache_folder
from simulator.state import WorldState, rear_axle
from student.observation import (
    COMMAND_LOOKAHEAD_M,
    command_from_heading_change,
    ego_features,
    one_hot_command,
)

logger = logging.getLogger(__name__)

MARKING_WIDTH_M = 0.15
DOUBLE_GAP_M = 0.20  # between the middles of the two lines of a double marking
DASH_M, DASH_GAP_M = 3.0, 6.0
EDGE_WIDTH_M = 0.25
STOP_LINE_WIDTH_M = 0.5
ZEBRA_M = 0.5  # width of a crosswalk's bars and of the gaps between them

LIGHT_BEYOND_M = 12.0
LIGHT_ASIDE_M = 1.0
LIGHT_HEIGHT_M = 4.5
"""A light stands 12 m beyond its stop line, 1 m right of the line's right end, 4.5 m up: on the far side, as in the
United States. From the line the front camera (63.7 x 38.5 degrees, 1.5 m up) then sees it about 11 degrees above the
horizon; a near-side light would be out of its sight just where it matters."""


def to_torch(array: Array) -> Tensor:
    """A JAX array as a tensor that shares its memory."""
    return torch.from_dlpack(array)


def to_jax(tensor: Tensor) -> Array:
    """A tensor as a JAX array that shares its memory; a tensor with gaps is copied first."""
    return jnp.from_dlpack(tensor.detach().contiguous())


def ground_mesh(road_map: RoadMap) -> GroundMesh:
    """Everything painted on one town's ground: lanes and other asphalt, edges, markings, crosswalks, stop lines."""
    meshes = _asphalt(road_map)
    meshes += [strip_quads(edge, EDGE_WIDTH_M, ClassId.ROAD_EDGE) for edge in road_map.pieces("edge")]
    for line, kind in zip(road_map.pieces("marking"), road_map.marking_type, strict=True):
        meshes += _marking(line, MarkingType(int(kind)))
    for ring in road_map.pieces("crosswalk"):
        zebra = partial(zebra_quads, ring, ZEBRA_M, ZEBRA_M, ClassId.CROSSWALK)
        meshes.append(_unless_crossed(zebra, "crosswalk", road_map.name))
    meshes += [strip_quads(ends, STOP_LINE_WIDTH_M, ClassId.STOP_LINE) for ends in road_map.stop_line_xyz]
    return GroundMesh.concatenate(meshes)


def ground_library(maps: Sequence[RoadMap]) -> GroundLibrary:
    """The ground of several maps, in the order of an atlas built from the same list, on the CPU."""
    return GroundLibrary([_cached_ground(road_map) for road_map in maps])


def _cached_ground(road_map: RoadMap) -> GroundMesh:
    """`ground_mesh`, kept in the map cache: cutting a large town into quads takes seconds.

    The entry is named by a digest of what the map holds and of the code that cuts, so that it is never stale.
    """
    digest = hashlib.sha256(
        b"".join(Path(source).read_bytes() for source in (__file__, ground_quads.__file__))
    )
    for field in fields(road_map):
        value = getattr(road_map, field.name)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fi":
            digest.update(f"{field.name}{value.dtype}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    entry = cache_folder() / f"ground-{digest.hexdigest()[:32]}.pt"
    if entry.is_file():
        try:
            held = torch.load(entry, weights_only=True)
            return GroundMesh(held["quads"], held["class_id"])
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
            logger.warning("rebuilding damaged cache entry %s (%s)", entry, type(error).__name__)
    mesh = ground_mesh(road_map)
    entry.parent.mkdir(parents=True, exist_ok=True)
    partial = entry.with_name(f".{entry.name}.{os.getpid()}.part")
    torch.save({"quads": mesh.quads, "class_id": mesh.class_id}, partial)
    partial.replace(entry)
    return mesh


def _asphalt(road_map: RoadMap) -> list[GroundMesh]:
    """Lanes as ribbons between their boundaries; a map lists lane outlines first, so the other rings follow them.

    Neighbours are simplified each by itself, and no ground may show between them: so lanes are a little wider.
    """
    meshes = []
    for start, count in zip(road_map.lane_start, road_map.lane_count, strict=True):
        points = slice(start, start + count)
        left, right = road_map.point_left_xyz[points], road_map.point_right_xyz[points]
        across = left - right
        out = across * (
            ground_quads.ROAD_TOLERANCE_M / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 0.1)
        )
        left, right = left + out, right - out
        meshes.append(ribbon_quads(left, right, ClassId.DRIVABLE))
    rings = road_map.pieces("drivable")[road_map.num_lanes :]
    fills = [partial(polygon_quads, ring, ClassId.DRIVABLE) for ring in rings]
    return meshes + [_unless_crossed(fill, "drivable polygon", road_map.name) for fill in fills]


def _marking(line: Float[np.ndarray, "points 3"], kind: MarkingType) -> list[GroundMesh]:
    """One painted line in its colour, solid, dashed or double."""
    pattern, _, colour = kind.name.partition("_")
    class_id = ClassId.MARKING_YELLOW if colour == "YELLOW" else ClassId.MARKING_WHITE
    if pattern == "DASHED":
        return [dashed_quads(line, MARKING_WIDTH_M, DASH_M, DASH_GAP_M, class_id)]
    if pattern == "DOUBLE":
        along = np.gradient(line[:, :2].astype(np.float64), axis=0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
        aside = np.stack([-along[:, 1], along[:, 0], np.zeros(len(line))], axis=1) * DOUBLE_GAP_M / 2
        return [strip_quads(line + side * aside, MARKING_WIDTH_M, class_id) for side in (1, -1)]
    return [strip_quads(line, MARKING_WIDTH_M, class_id)]


def _unless_crossed(build: Callable[[], GroundMesh], what: str, name: str) -> GroundMesh:
    """The mesh; an outline that crosses itself cannot be filled and is left out with a note."""
    try:
        return build()
    except ValueError as error:
        logger.debug("map %s: a %s is not drawn: %s", name, what, error)
        return GroundMesh.empty()


@dataclass(frozen=True)
class LightTable:
    """Traffic lights of every map of an atlas, padded to the map with the most. Built once, then only read."""

    stops: Int[Array, "maps lights"]  # stop line of the atlas, -1 pad; on JAX's device
    position: Float[Tensor, "maps lights 3"]  # m, world; on the ground's device, as is the yaw
    yaw: Float[Tensor, "maps lights"]  # rad, travel direction of the controlled approach


def light_table(atlas: RoadAtlas, device: torch.device | str = "cpu") -> LightTable:
    """One light per lit stop line, on the far side of its junction (see LIGHT_BEYOND_M); tensors go to `device`."""
    kind, junction = np.asarray(atlas.stop_kind), np.asarray(atlas.stop_junction)
    lit = (kind == int(StopKind.TRAFFIC_LIGHT)) & (junction >= 0)
    town = np.asarray(atlas.stop_map)
    per_map = [np.flatnonzero(lit & (town == index)) for index in range(atlas.num_maps)]
    stops = np.full((atlas.num_maps, max(1, *(len(found) for found in per_map))), -1, np.int32)
    for row, found in zip(stops, per_map, strict=True):
        row[: len(found)] = found
    if not len(kind):
        nowhere = torch.zeros(*stops.shape, 3, device=device)
        return LightTable(jnp.asarray(stops), nowhere, nowhere[..., 0].contiguous())
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
class Drawable:
    """What changes between two pictures of batched worlds, computed by `drawable` in JAX."""

    box_class: Array  # [worlds, agents] i32, -1 absent
    light_state: Array  # [worlds, lights] i32
    world_from_rig: Array  # [worlds, agents, 4, 4]
    heading_change: Array  # [worlds, agents] rad of the route ahead, left positive; NaN without a route ahead
    rear_axle: Array  # [worlds, agents, 3] x, y m, yaw rad


jax.tree_util.register_dataclass(Drawable)


def drawable(
    state: WorldState, stops: Int[Array, "maps lights"], atlas: RoadAtlas, config: SimulatorConfig
) -> Drawable:
    """Everything of batched worlds that the renderer and the student need and the state does not hold as such.

    `stops` are `LightTable.stops`.
    """
    box_class = jnp.where(state.present, state.scenario.kind, -1)
    own = stops[state.map_id]
    light_state = jax.vmap(traffic_lights.light_states, (0, 0, None, None))(state, own, atlas, config)
    axle = rear_axle(state.position, state.yaw, state.scenario.size)
    pose = jnp.concatenate([axle[..., :2], state.yaw[..., None]], axis=-1)
    change = jax.vmap(jax.vmap(heading_change))(state.scenario.route_yaw, state.route_m)
    return Drawable(box_class, light_state, _upright(axle, state.yaw), change, pose)


def heading_change(route_yaw: Float[Array, " stations"], route_m: Float[Array, ""]) -> Float[Array, ""]:
    """Largest signed heading change of a route within COMMAND_LOOKAHEAD_M of `route_m`, rad, left positive.

    The largest and not the last: in an S bend, or after a junction, the end may point where the beginning did. At
    the route's end there is nothing ahead and the change is NaN.
    """
    last = route_yaw.shape[0] - 1
    here = jnp.clip(jnp.round(route_m / ROUTE_SPACING_M).astype(jnp.int32), 0, last)
    ahead = here + jnp.arange(1, round(COMMAND_LOOKAHEAD_M / ROUTE_SPACING_M) + 1)
    change = wrap_angle(route_yaw[jnp.minimum(ahead, last)] - route_yaw[here])
    return jnp.where(here < last, change[jnp.argmax(jnp.abs(change))], jnp.nan)


def _upright(origin: Float[Array, "*n 3"], yaw: Float[Array, "*n"]) -> Float[Array, "*n 4 4"]:
    """Pose matrices of frames that stand upright at `origin` (m) and are turned by `yaw`."""
    cos, sin, zero, one = jnp.cos(yaw), jnp.sin(yaw), jnp.zeros_like(yaw), jnp.ones_like(yaw)
    rows = [
        jnp.stack([cos, -sin, zero, origin[..., 0]], axis=-1),
        jnp.stack([sin, cos, zero, origin[..., 1]], axis=-1),
        jnp.stack([zero, zero, one, origin[..., 2]], axis=-1),
        jnp.stack([zero, zero, zero, one], axis=-1),
    ]
    return jnp.stack(rows, axis=-2)


def scene(
    state: WorldState,
    seen: Drawable,
    table: LightTable,
    ground: GroundLibrary,
    viewers: Int[Tensor, " viewers"],
) -> Scene:
    """Batched worlds as a scene looked at by some agents; `viewers` are flat indices world * agents + agent.

    Everything lies on the ground's device, where `table` must lie too; viewers that lie there are not moved. Where
    JAX's arrays do as well, the scene shares positions, sizes and yaws of boxes with the state: nobody may write into
    them. New are the integers, which a `Scene` holds as i64, the viewers' poses, and the lights of each world's own
    map, picked out of the table on the device. The host is not asked for anything.
    """
    worlds, agents = seen.box_class.shape
    device = ground.device
    map_id = to_torch(state.map_id).to(device, torch.int64)
    viewers = viewers.to(device)
    return Scene(
        box_position=to_torch(state.position).to(device),
        box_size=to_torch(state.scenario.size).to(device),
        box_yaw=to_torch(state.yaw).to(device),
        box_class=to_torch(seen.box_class).to(device, torch.int64),
        light_position=table.position[map_id],
        light_yaw=table.yaw[map_id],
        light_state=to_torch(seen.light_state).to(device, torch.int64),
        ground=ground,
        map_id=map_id,
        viewer_world=viewers // agents,
        viewer_box=viewers % agents,
        world_from_rig=to_torch(seen.world_from_rig).to(device).view(worlds * agents, 4, 4)[viewers],
    )


def ego_inputs(
    state: WorldState, seen: Drawable
) -> tuple[Float[Tensor, "agents ego"], Float[Tensor, "agents 4"], Float[Tensor, "agents conditioning"]]:
    """Ego vector, command and traits of all agents of batched worlds, flattened to world * agents + agent; on JAX's
    device."""
    motion = [state.speed, state.acceleration, state.lateral_acceleration, state.steering]
    ego = ego_features(
        *(to_torch(part).flatten() for part in motion), to_torch(state.scenario.size).flatten(0, 1)
    )
    command = one_hot_command(command_from_heading_change(to_torch(seen.heading_change).flatten()))
    traits = to_torch(state.scenario.traits).flatten(0, 1)
    return ego, command, 2.0 * traits - 1.0
