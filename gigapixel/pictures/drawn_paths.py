"""Trajectories drawn into pictures: onto the ground in front of a camera, and onto the view from above."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw

from gigapixel.pictures.layout import Colour
from gigapixel.run_folder.image_grid import Picture
from renderer import CameraRig
from simulator.drawing.viewport import Viewport

SUPERSAMPLING = 3
SPACING_M = 0.25
"""Distance between the points of a drawn line: perspective bends it, and the part behind a camera is cut off here."""
NEAR_M = 0.5
"""Points nearer to the plane of a camera are not drawn."""
TICK_M = 1.5
"""Length of the mark across a stroke at a pose."""
Pixels = list[tuple[float, float]]


@dataclass(frozen=True)
class Stroke:
    """A trajectory as it is drawn."""

    poses: Float[np.ndarray, "poses 3"]  # x forward m, y left m, yaw rad; rear axle, in its frame of now
    colour: Colour
    width_m: float  # on the ground; never thinner than a pixel, from above two where it is ticked
    ticked: bool = False  # a mark across it at every pose, so that their distances tell the speed


def ground_line(poses: Float[np.ndarray, "poses 3"]) -> Float[np.ndarray, "points 2"]:
    """The rear axle's way (x, y), m, in straight pieces from where it is through the poses, in points at most
    SPACING_M apart."""
    corners = np.vstack([np.zeros(2), np.asarray(poses, np.float64)[:, :2]])
    pieces = [corners[:1]]
    for start, end in itertools.pairwise(corners):
        count = int(np.ceil(np.linalg.norm(end - start) / SPACING_M))
        pieces.append(start + (end - start) * (np.arange(1, count + 1) / max(count, 1))[:, None])
    return np.concatenate(pieces)


def project_to_camera(
    points: Float[np.ndarray, "points 2"], rig: CameraRig, camera: str
) -> tuple[Float[np.ndarray, "points 2"], Float[np.ndarray, " points"]]:
    """Points (x, y) of the plane on which the car stands, m, as pixels (x, y) of a camera, and their depth, m. Pixels
    mean nothing where the depth is below NEAR_M."""
    on_ground = torch.zeros(len(points), 3)
    on_ground[:, :2] = torch.from_numpy(np.asarray(points, np.float32))
    pixels, depth = rig.to("cpu").select([camera]).project(on_ground)
    return pixels[0].numpy().astype(np.float64), depth[0].numpy().astype(np.float64)


def draw_in_camera(picture: Picture, rig: CameraRig, camera: str, strokes: Sequence[Stroke]) -> Image.Image:
    """A copy of a camera's picture with the strokes on the ground, the first at the bottom.

    The plane on which the car stands is taken for the ground. What lies behind the camera is not drawn; cars do not
    hide a stroke.

    Args:
        picture: Of any size, with the whole field of view of the camera.
        rig: The cameras of the car, at any size.
        camera: Name of the camera.
        strokes: Seen from where the car is now.
    """
    image, brush = _enlarged(picture)
    large = rig.resized(image.height, image.width)
    for stroke in strokes:
        line = ground_line(stroke.poses)
        pixels, depth = project_to_camera(line, large, camera)
        edges = [project_to_camera(line + side, large, camera) for side in _sides(line, stroke.width_m)]
        ahead = depth >= NEAR_M
        for _, edge_depth in edges:
            ahead &= edge_depth >= NEAR_M
        for run in _runs(ahead):
            (left, _), (right, _) = edges
            brush.polygon(_pairs(np.concatenate([left[run], right[run][::-1]])), fill=stroke.colour)
            brush.line(_pairs(pixels[run]), fill=stroke.colour, width=SUPERSAMPLING)
        for tick in _ticks(stroke):
            pixels, depth = project_to_camera(tick, large, camera)
            if (depth >= NEAR_M).all():
                brush.line(_pairs(pixels), fill=stroke.colour, width=2 * SUPERSAMPLING)
    return image.reduce(SUPERSAMPLING)


def draw_from_above(
    picture: Picture, view: Viewport, pose: Float[np.ndarray, " 3"], strokes: Sequence[Stroke]
) -> Image.Image:
    """A copy of a view from above with the strokes, the first at the bottom; `pose` is the rear axle's x, y (m) and yaw
    (rad) in the world."""
    image, brush = _enlarged(picture)
    large = view.enlarged(SUPERSAMPLING)
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    world_from_rig = np.array([[cos, -sin], [sin, cos]])

    def pixels(points: np.ndarray) -> Pixels:
        return large.pixels(points @ world_from_rig.T + np.asarray(pose)[:2])

    for stroke in strokes:
        thinnest = (2 if stroke.ticked else 1) * SUPERSAMPLING
        width = max(thinnest, round(stroke.width_m * large.scale))
        brush.line(pixels(ground_line(stroke.poses)), fill=stroke.colour, width=width, joint="curve")
        for tick in _ticks(stroke):
            brush.line(pixels(tick), fill=stroke.colour, width=SUPERSAMPLING)
    return image.reduce(SUPERSAMPLING)


def _enlarged(picture: Picture) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """The picture SUPERSAMPLING times as large, so that edges are smooth when it is reduced again, and a brush."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    size = (image.width * SUPERSAMPLING, image.height * SUPERSAMPLING)
    image = image.convert("RGB").resize(size, Image.Resampling.NEAREST)
    return image, ImageDraw.Draw(image)


def _sides(line: Float[np.ndarray, "points 2"], width_m: float) -> list[Float[np.ndarray, "points 2"]]:
    """Offsets to the left and to the right edge of a band around a line."""
    along = np.gradient(line, axis=0) if len(line) > 1 else np.array([[1.0, 0.0]])
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    left = 0.5 * width_m * np.stack([-along[:, 1], along[:, 0]], axis=1)
    return [left, -left]


def _runs(wanted: np.ndarray) -> Iterator[slice]:
    """Each longest part of a [points] bool array that is true and has two points or more."""
    borders = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(int)))
    for start, end in zip(borders[::2].tolist(), borders[1::2].tolist()):
        if end - start > 1:
            yield slice(start, end)


def _pairs(pixels: Float[np.ndarray, "points 2"]) -> Pixels:
    return [(x, y) for x, y in pixels.tolist()]


def _ticks(stroke: Stroke) -> list[Float[np.ndarray, "2 2"]]:
    """Both ends (x, y), m, of the marks of a stroke."""
    if not stroke.ticked:
        return []
    x, y, yaw = np.asarray(stroke.poses, np.float64).T
    left = 0.5 * TICK_M * np.stack([-np.sin(yaw), np.cos(yaw)], axis=1)
    middle = np.stack([x, y], axis=1)
    return list(np.stack([middle + left, middle - left], axis=1))
