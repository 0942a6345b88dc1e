"""Real samples as scenes for the renderer: the boxes, and the ground plane below them.

The world of each image is its own level frame (see `adaptation.frames.camera_frame`), so that boxes, which have only a
yaw, are upright, and coordinates are small. The ground is one plane through the origin of the rig: the vehicle's own
plane, tilted slightly to fit the bottoms of the boxes. A lane map, where there is one, is projected onto that plane;
elsewhere the whole plane is drawn as drivable surface, because the extent of the road is not known.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from adaptation.frames.camera_frame import CameraFrame, CameraSample
from adaptation.pairs.lanes import LaneMap, densified
from renderer.ground import GroundLibrary, GroundMesh
from renderer.ground_quads import polygon_quads
from renderer.palette import ClassId
from renderer.scene import DEFAULT_DRAW_DISTANCE_M, Scene
from simulator.conventions import CAR, TRUCK
from student.bridge.ground import edge_meshes, marking_meshes

LINE_SPACING_M = 2.0
"""Largest distance between points of a line that is projected onto the ground plane."""

SLOPE_PRIOR = 0.02
"""Prior standard deviation (rad) of the slope of the ground relative to the vehicle's own plane."""
VEHICLE_BOTTOM_NOISE_M = 0.1
"""Standard deviation of the height of annotated bottoms of cars and trucks above the road plane."""
OTHER_BOTTOM_NOISE_M = 0.3
"""The same for all other boxes: pavements are higher than the road, and annotations less exact."""
SLOPE_RADIUS_M = 60.0
CORRIDOR_M = 10.0
"""Lateral limit: boxes further to the side stand on other ground (a quay, a yard) and have most leverage on the fit."""


def ground_normal_rig(sample: CameraSample) -> Float[np.ndarray, " 3"]:
    """Unit normal of the ground plane through the origin of the rig, rig frame.

    The data set's own plane where it gives one; else a regularised least-squares fit to the bottoms of the boxes
    within SLOPE_RADIUS_M and, to either side, CORRIDOR_M, with the Gaussian prior SLOPE_PRIOR (our choice; in
    leave-one-out fits, real cars within 45 m are 0.04 to 0.06 m (median) off the plane).
    """
    first = sample.cameras[0]
    if first.ground_plane_ego is not None:
        return first.ground_plane_ego[:3]
    points, noise = _box_bottoms(sample)
    weighted = points[:, :2].T / noise**2
    precision = weighted @ points[:, :2] + np.eye(2) / SLOPE_PRIOR**2
    slope = np.linalg.solve(precision, weighted @ points[:, 2])
    normal = np.array([-slope[0], -slope[1], 1.0])
    return normal / np.linalg.norm(normal)


def _box_bottoms(sample: CameraSample) -> tuple[Float[np.ndarray, "boxes 3"], Float[np.ndarray, " boxes"]]:
    """Centres of the bottoms of the boxes used in the fit, rig frame, and the standard deviation of each (m)."""
    bottoms, noises = [np.zeros((0, 3))], [np.zeros(0)]
    for frame in sample.cameras:
        rig_from_camera = frame.rig_from_camera()
        corners = frame.boxes.corners_camera[:, :4].mean(axis=1)
        bottoms.append(corners @ rig_from_camera[:3, :3].T + rig_from_camera[:3, 3])
        vehicle = np.isin(frame.boxes.kind, (CAR, TRUCK))
        noises.append(np.where(vehicle, VEHICLE_BOTTOM_NOISE_M, OTHER_BOTTOM_NOISE_M))
    points, noise = np.concatenate(bottoms), np.concatenate(noises)
    near = np.linalg.norm(points[:, :2], axis=1) <= SLOPE_RADIUS_M
    near &= np.abs(points[:, 1]) <= CORRIDOR_M
    return points[near], noise[near]


def local_ground(
    frame: CameraFrame,
    normal_rig: Float[np.ndarray, " 3"],
    lane_map: LaneMap | None,
    radius_m: float = DEFAULT_DRAW_DISTANCE_M,
) -> GroundMesh:
    """The ground within `radius_m` of the ego vehicle, in the level frame of an image.

    With a lane map and a pose: drivable area, markings and road edges. Without: a square of drivable surface.
    """
    normal = frame.level_from_rig()[:3, :3] @ normal_rig
    slope = -normal[:2] / normal[2]
    if lane_map is None or frame.world_from_ego is None:
        square = radius_m * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        return polygon_quads(_on_plane(square, slope), ClassId.DRIVABLE)
    level_from_world = frame.level_from_rig() @ frame.rig_from_ego() @ np.linalg.inv(frame.world_from_ego)

    def projected(points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 3"]:
        level = points @ level_from_world[:2, :2].T + level_from_world[:2, 3]
        return _on_plane(level, slope)

    ego_position = np.linalg.inv(level_from_world)[:2, 3]
    near = lane_map.near(ego_position, radius_m)
    meshes = [polygon_quads(projected(corners), ClassId.DRIVABLE) for corners in near.triangles()]
    meshes += marking_meshes(
        (projected(densified(line, LINE_SPACING_M)), kind) for line, kind in near.markings
    )
    meshes += edge_meshes(projected(densified(edge, LINE_SPACING_M)) for edge in near.edges)
    return GroundMesh.concatenate(meshes)


def _on_plane(
    points: Float[np.ndarray, "points 2"], slope: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, "points 3"]:
    """Points (m, level frame) with the height of the ground plane, whose slope is (dz/dx, dz/dy)."""
    return np.concatenate([points, points @ slope[:, None]], axis=1)


def scene_of_frame(
    frame: CameraFrame, normal_rig: Float[np.ndarray, " 3"], lane_map: LaneMap | None = None
) -> Scene:
    """The scene that corresponds to one real image, in its level frame: one world, one viewer, no traffic lights."""
    position, yaw = frame.level_boxes()
    count = len(frame.boxes)

    def to_float32(values: Float[np.ndarray, "..."]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32)

    scene = Scene(
        box_position=to_float32(position).reshape(1, count, 3),
        box_size=to_float32(frame.boxes.size).reshape(1, count, 3),
        box_yaw=to_float32(yaw).reshape(1, count),
        box_class=torch.tensor(frame.boxes.kind, dtype=torch.int64).reshape(1, count),
        light_position=torch.zeros(1, 0, 3),
        light_yaw=torch.zeros(1, 0),
        light_state=torch.zeros(1, 0, dtype=torch.int64),
        ground=GroundLibrary([local_ground(frame, normal_rig, lane_map)]),
        map_id=torch.zeros(1, dtype=torch.int64),
        viewer_world=torch.zeros(1, dtype=torch.int64),
        viewer_box=torch.full((1,), -1, dtype=torch.int64),
        world_from_rig=to_float32(frame.level_from_rig()).reshape(1, 4, 4),
    )
    scene.validate()
    return scene
