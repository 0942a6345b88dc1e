"""A real moment rebuilt for the renderer: its boxes, and the ground it stands on.

The world of each picture is its own level frame (see `adaptation.frames.camera_frame`), so that boxes, which know only
yaw, stand upright, and coordinates stay small. The ground is one plane through the point under the rear axle: the
vehicle's own plane, tilted a little where the bottoms of the boxes say so. Where a lane map exists it is laid onto
that plane; elsewhere the whole plane is drawn as drivable surface, because nothing says where the road ends.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from adaptation.frames.camera_frame import CameraFrame, Moment
from adaptation.pairs.lanes import LaneMap, resample_polyline
from renderer.ground import GroundLibrary, GroundMesh
from renderer.ground_quads import dashed_quads, polygon_quads, strip_quads
from renderer.palette import ClassId
from renderer.scene import DEFAULT_DRAW_DISTANCE_M, Scene
from simulator.conventions import CAR, TRUCK

MARKING_WIDTH_M = 0.15
EDGE_WIDTH_M = 0.25
DASH_M, GAP_M = 3.0, 6.0
STATION_M = 2.0

SLOPE_PRIOR = 0.02
"""How far the ground may lean from the vehicle's own plane, standard deviation in rad."""
VEHICLE_BOTTOM_NOISE_M = 0.1
"""How well (standard deviation) the bottom of an annotated car or truck lies on the road's plane."""
OTHER_BOTTOM_NOISE_M = 0.3
"""The same for everything else: pavements are higher than the road, and annotated less exactly."""
SLOPE_RADIUS_M = 60.0
CORRIDOR_M = 10.0
"""Boxes further aside stand on other ground than the road's (a quay, a yard), and far out they would tilt it most."""


def ground_normal_rig(moment: Moment) -> Float[np.ndarray, " 3"]:
    """Unit normal of the ground plane through the rig's origin, rig frame.

    The data set's own plane where it gives one; else a least-squares fit to the bottoms of the boxes within
    SLOPE_RADIUS_M and, to either side, CORRIDOR_M, held near the vehicle's plane by SLOPE_PRIOR. Our own choice:
    left out of the fit one at a time, real cars within 45 m stand 0.04 to 0.06 m (median) off the plane.
    """
    first = moment.cameras[0]
    if first.ground_plane_ego is not None:
        return first.ground_plane_ego[:3]
    points, noise = _road_bottoms(moment)
    weighted = points[:, :2].T / noise**2
    precision = weighted @ points[:, :2] + np.eye(2) / SLOPE_PRIOR**2
    slope = np.linalg.solve(precision, weighted @ points[:, 2])
    normal = np.array([-slope[0], -slope[1], 1.0])
    return normal / np.linalg.norm(normal)


def _road_bottoms(moment: Moment) -> tuple[Float[np.ndarray, "boxes 3"], Float[np.ndarray, " boxes"]]:
    """Points under the boxes that tell how the road lies, rig frame, and how well each does (m)."""
    bottoms, noises = [np.zeros((0, 3))], [np.zeros(0)]
    for frame in moment.cameras:
        rig_from_camera = frame.rig_from_camera()
        corners = frame.boxes.corners_camera[:, :4].mean(axis=1)
        bottoms.append(corners @ rig_from_camera[:3, :3].T + rig_from_camera[:3, 3])
        vehicle = np.isin(frame.boxes.class_id, (CAR, TRUCK))
        noises.append(np.where(vehicle, VEHICLE_BOTTOM_NOISE_M, OTHER_BOTTOM_NOISE_M))
    points, noise = np.concatenate(bottoms), np.concatenate(noises)
    near = np.linalg.norm(points[:, :2], axis=1) <= SLOPE_RADIUS_M
    near &= np.abs(points[:, 1]) <= CORRIDOR_M
    return points[near], noise[near]


def ground_mesh(
    frame: CameraFrame,
    normal_rig: Float[np.ndarray, " 3"],
    lane_map: LaneMap | None,
    radius_m: float = DEFAULT_DRAW_DISTANCE_M,
) -> GroundMesh:
    """What is painted on the ground around a picture's viewer, in its level frame."""
    normal = frame.level_from_rig()[:3, :3] @ normal_rig
    slope = -normal[:2] / normal[2]
    if lane_map is None or frame.world_from_ego is None:
        square = radius_m * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        return polygon_quads(_on_plane(square, slope), ClassId.DRIVABLE)
    level_from_world = frame.level_from_rig() @ frame.rig_from_ego() @ np.linalg.inv(frame.world_from_ego)

    def placed(points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 3"]:
        level = points @ level_from_world[:2, :2].T + level_from_world[:2, 3]
        return _on_plane(level, slope)

    viewer = np.linalg.inv(level_from_world)[:2, 3]
    near = lane_map.near(viewer, radius_m)
    meshes = [polygon_quads(placed(corners), ClassId.DRIVABLE) for corners in near.triangles()]
    for line in near.markings:
        points = placed(resample_polyline(line.points, STATION_M))
        paint = ClassId.MARKING_YELLOW if line.yellow else ClassId.MARKING_WHITE
        if line.dashed:
            meshes.append(dashed_quads(points, MARKING_WIDTH_M, DASH_M, GAP_M, paint))
        else:
            meshes.append(strip_quads(points, MARKING_WIDTH_M, paint))
    meshes += [
        strip_quads(placed(resample_polyline(edge, STATION_M)), EDGE_WIDTH_M, ClassId.ROAD_EDGE)
        for edge in near.edges
    ]
    return GroundMesh.concatenate(meshes)


def _on_plane(
    points: Float[np.ndarray, "points 2"], slope: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, "points 3"]:
    return np.concatenate([points, points @ slope[:, None]], axis=1)


def scene_of(
    frame: CameraFrame, normal_rig: Float[np.ndarray, " 3"], lane_map: LaneMap | None = None
) -> Scene:
    """One world, one viewer: what the renderer draws for one real picture."""
    position, yaw = frame.level_boxes()
    count = len(frame.boxes)

    def real(values: Float[np.ndarray, "..."]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32)

    scene = Scene(
        box_position=real(position).reshape(1, count, 3),
        box_size=real(frame.boxes.size).reshape(1, count, 3),
        box_yaw=real(yaw).reshape(1, count),
        box_class=torch.tensor(frame.boxes.class_id, dtype=torch.int64).reshape(1, count),
        light_position=torch.zeros(1, 0, 3),
        light_yaw=torch.zeros(1, 0),
        light_state=torch.zeros(1, 0, dtype=torch.int64),
        ground=GroundLibrary([ground_mesh(frame, normal_rig, lane_map)]),
        map_id=torch.zeros(1, dtype=torch.int64),
        viewer_world=torch.zeros(1, dtype=torch.int64),
        viewer_box=torch.full((1,), -1, dtype=torch.int64),
        world_from_rig=real(frame.level_from_rig()).reshape(1, 4, 4),
    )
    scene.validate()
    return scene
