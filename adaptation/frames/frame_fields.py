"""One line of the index as a `CameraFrame`: its fields, checked one by one. Nothing is repaired."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from adaptation.frames.camera_frame import RIG_FROM_EGO_M, Boxes, CameraFrame
from adaptation.frames.class_names import LEFT_OUT, kind_of_class_name
from adaptation.frames.index_line import IndexLine
from simulator.conventions import STATIC

SIZE_TOLERANCE_M = 0.05
"""Largest difference between a box's stated size and its corners."""
UPRIGHT_COS = 0.5
"""Smallest cosine of the angle between the vehicle's z axis and the world's; the level frame needs z to be up."""
SCALE_AGREEMENT = 0.1
"""A principal point that lies off the centre by the same factor in x and y, within this, is that of another size ..."""
SCALE_RANGE = (0.7, 1.4)
"""... where the factor is outside this range; a cropped image is off the centre by different factors."""
CORNER_SHARE = 0.15
"""A principal point nearer to a corner than this, in shares of both sides, is not that of the image."""


@dataclass(frozen=True)
class ClassCounts:
    """Boxes whose class has no kind, by class name as written."""

    unmapped: Counter[str] = field(default_factory=Counter)  # drawn as static
    left_out: Counter[str] = field(default_factory=Counter)


def read_frame(line: IndexLine, index: Path, counts: ClassCounts) -> CameraFrame:
    """The image of a line, without its time. Classes without a kind are added to `counts`. Raises ValueError."""
    ego_frame = line.fields.get("ego_frame", "rear_axle")
    if not isinstance(ego_frame, str) or ego_frame not in RIG_FROM_EGO_M:
        raise line.error("ego_frame", ego_frame, f"one of {sorted(RIG_FROM_EGO_M)}")
    width, height = line.integer("width", 1), line.integer("height", 1)
    return CameraFrame(
        dataset=line.text("dataset"),
        seq=line.text("seq"),
        frame=line.integer("frame", 0),
        camera=line.text("cam"),
        image=index.parent / line.text("image"),
        width=width,
        height=height,
        timestamp_s=None,
        intrinsics=_intrinsics(line, width, height),
        ego_from_camera=line.rigid_transform("cam_to_ego"),
        world_from_ego=_world_from_ego(line),
        boxes=_boxes(line, counts),
        ego_frame=ego_frame,
        ground_plane_ego=_ground_plane(line),
        pseudo_labels="label_source" in line.fields,
        where=line.where,
    )


def _intrinsics(line: IndexLine, width: int, height: int) -> Float[np.ndarray, "3 3"]:
    matrix = line.array("K", (3, 3))
    triangular = np.allclose(matrix[[1, 2, 2], [0, 0, 1]], 0) and np.isclose(matrix[2, 2], 1)
    if not triangular or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise line.error("K", line.fields["K"], "a pinhole matrix: positive focal lengths, last row 0 0 1")
    centre_x, centre_y = matrix[:2, 2].tolist()
    if not _fits(centre_x / width, centre_y / height):
        fitting = (
            f"; it would fit a picture of about {2 * centre_x:.0f} x {2 * centre_y:.0f} px"
            if centre_x > 0 and centre_y > 0
            else ""
        )
        raise ValueError(
            f"{line.where}: K={line.fields['K']} has its principal point at ({centre_x:g}, {centre_y:g}), but the "
            f"picture is {width} x {height} px{fitting}; expected K for the size of the picture"
        )
    return matrix


def _fits(x_share: float, y_share: float) -> bool:
    """Whether a principal point, in shares of width and height, can be that of an image of this size."""
    if not (0 < x_share < 1 and 0 < y_share < 1):
        return False
    if max(min(x_share, 1 - x_share), min(y_share, 1 - y_share)) < CORNER_SHARE:
        return False
    scaled = abs(x_share / y_share - 1) <= SCALE_AGREEMENT
    return not scaled or SCALE_RANGE[0] <= x_share + y_share <= SCALE_RANGE[1]


def _world_from_ego(line: IndexLine) -> Float[np.ndarray, "4 4"] | None:
    if line.required("ego_to_world") is None:
        return None
    transform = line.rigid_transform("ego_to_world")
    if transform[2, 2] < UPRIGHT_COS:
        raise line.error(
            "ego_to_world",
            line.fields["ego_to_world"],
            "a vehicle that stands upright in a world whose z is up",
        )
    return transform


def _ground_plane(line: IndexLine) -> Float[np.ndarray, " 4"] | None:
    if line.fields.get("ground_plane_ego") is None:
        return None
    plane = line.array("ground_plane_ego", (4,))
    norm = np.linalg.norm(plane[:3])
    if norm < 1e-6 or plane[2] / norm < 0.9:
        raise line.error(
            "ground_plane_ego", line.fields["ground_plane_ego"], "a plane whose normal points up"
        )
    return plane / norm


def _boxes(line: IndexLine, counts: ClassCounts) -> Boxes:
    items = line.required("boxes")
    if not isinstance(items, list):
        raise line.error("boxes", items, "a list of boxes")
    corners, sizes, kinds = [np.zeros((0, 8, 3))], [np.zeros((0, 3))], []
    for number, item in enumerate(items):
        kind = _box_kind(line, f"boxes[{number}]", item, counts)
        if kind == LEFT_OUT:  # its size and corners are not read: those of KITTI's DontCare are -1
            continue
        box_corners, size = _box_geometry(line, f"boxes[{number}]", item)
        corners.append(box_corners[None])
        sizes.append(size[None])
        kinds.append(kind)
    return Boxes(np.concatenate(corners), np.concatenate(sizes), np.array(kinds, np.int64))


def _box_kind(line: IndexLine, name: str, item: Any, counts: ClassCounts) -> int:
    """The kind that a box is drawn as, or LEFT_OUT."""
    class_name = _box_value(line, name, item, "cls")
    if not isinstance(class_name, str) or not class_name:
        raise line.error(f"{name}.cls", class_name, "the name of a class")
    kind = kind_of_class_name(class_name)
    if kind is None:
        counts.unmapped[class_name] += 1
        return STATIC
    if kind == LEFT_OUT:
        counts.left_out[class_name] += 1
    return kind


def _box_value(line: IndexLine, name: str, item: Any, key: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise ValueError(f"{line.where}: the field '{name}.{key}' is missing")
    return item[key]


def _box_geometry(
    line: IndexLine, name: str, item: Any
) -> tuple[Float[np.ndarray, "8 3"], Float[np.ndarray, " 3"]]:
    """Corners and size of a box, m."""
    stated, listed = (_box_value(line, name, item, key) for key in ("lwh", "corners_cam"))
    corners = line.array(f"{name}.corners_cam", (8, 3), listed)
    size = line.array(f"{name}.lwh", (3,), stated)
    if (size <= 0).any():
        raise line.error(f"{name}.lwh", stated, "positive length, width and height in metres")
    measured = np.linalg.norm(corners[[0, 1]].mean(0) - corners[[2, 3]].mean(0))
    if abs(measured - size[0]) > SIZE_TOLERANCE_M:
        raise line.error(
            f"{name}.corners_cam",
            listed,
            f"corners in the order front, front, rear, rear, {size[0]} m long as lwh says",
        )
    return corners, size
