"""Read `camera/frames.jsonl`: one JSON object per image, checked field by field, grouped into samples.

Nothing is repaired: an invalid field is an error that names file, line, field and value.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from adaptation.frames.camera_frame import (
    KIND_OF_CLASS_NAME,
    RIG_FROM_EGO_M,
    Boxes,
    CameraFrame,
    CameraSample,
)
from simulator.logs.import_logs import DATA_VARIABLE

log = logging.getLogger(__name__)

MAX_CAMERAS = 6
ROTATION_TOLERANCE = 0.01
"""Largest deviation of R R^T from the identity; the files round to five digits."""
SIZE_TOLERANCE_M = 0.05
"""Largest difference between a box's stated size and its corners."""


def data_folder(root: str | Path | None = None) -> Path:
    """The folder of real data: `root`, else $GIGAPIXEL_DATA.

    Raises:
        ValueError: Neither is set.
        FileNotFoundError: The folder has no camera/frames.jsonl.
    """
    value = root or os.environ.get(DATA_VARIABLE)
    if not value:
        raise ValueError(
            f"real camera frames are read from the folder in {DATA_VARIABLE}, which is not set; set it, "
            "or use configs/adaptation/stand_in.yaml, which needs no real data"
        )
    folder = Path(value)
    if not (folder / "camera" / "frames.jsonl").is_file():
        raise FileNotFoundError(f"{DATA_VARIABLE}={value} has no camera/frames.jsonl")
    return folder


@dataclass(frozen=True)
class CameraLog:
    """All real images of a data folder, grouped into samples, in the order of the file."""

    root: Path  # the folder that holds camera/ and logs/
    samples: tuple[CameraSample, ...]

    @classmethod
    def load(cls, root: str | Path | None = None, datasets: Sequence[str] | None = None) -> CameraLog:
        """Read and check the index of a data folder, see `data_folder`; `datasets` selects data sets (None: all).

        Raises ValueError or OSError for an invalid line, an image that is missing or broken, or no frame at all.
        """
        folder = data_folder(root)
        index = folder / "camera" / "frames.jsonl"
        frames = [
            frame
            for number, line in enumerate(_read_lines(index), start=1)
            if line.strip()
            for frame in [_parse_line(line, index, number)]
            if datasets is None or frame.dataset in datasets
        ]
        if not frames:
            wanted = "any data set" if datasets is None else f"the data sets {list(datasets)}"
            raise ValueError(f"{index}: no frame of {wanted}")
        camera_log = cls(folder, _group(frames))
        camera_log.validate()
        log.info(
            "%s: %d images, %d samples, %d scenes",
            index,
            len(frames),
            len(camera_log.samples),
            len(camera_log.scenes),
        )
        return camera_log

    @property
    def scenes(self) -> list[str]:
        """Names of the scenes, in order of appearance."""
        return list(dict.fromkeys(sample.scene for sample in self.samples))

    def samples_of_scenes(self, scenes: Sequence[str]) -> list[CameraSample]:
        """The samples of these scenes, in the order of the log."""
        return [sample for sample in self.samples if sample.scene in scenes]

    def validate(self) -> None:
        """Check the header of every image file and the cameras of every sample; decodes no pixels.

        Raises ValueError or OSError.
        """
        for sample in self.samples:
            names = [camera.camera for camera in sample.cameras]
            if len(set(names)) < len(names):
                raise ValueError(
                    f"{sample.cameras[-1].where}: cam: {sample.name} lists a camera twice: {names}"
                )
            if len(names) > MAX_CAMERAS:
                raise ValueError(
                    f"{sample.cameras[-1].where}: cam: {sample.name} has {len(names)} cameras; "
                    f"at most {MAX_CAMERAS} are accepted"
                )
            for camera in sample.cameras:
                _check_header(camera)


def _read_lines(index: Path) -> list[str]:
    try:
        return index.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{index}: is not UTF-8 text ({error})") from error


def _check_header(frame: CameraFrame) -> None:
    """Raises for a missing image file, and for one whose header states another size."""
    try:
        with Image.open(frame.image) as opened:
            size = opened.size
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{frame.where}: image: there is no file {frame.image}") from error
    except OSError as error:
        raise ValueError(f"{frame.where}: image: {frame.image} cannot be decoded ({error})") from error
    if size != (frame.width, frame.height):
        raise ValueError(
            f"{frame.where}: image: {frame.image} is {size[0]} x {size[1]} px, "
            f"but width and height say {frame.width} x {frame.height}"
        )


def _group(frames: list[CameraFrame]) -> tuple[CameraSample, ...]:
    samples: dict[tuple[str, str, int], list[CameraFrame]] = {}
    for frame in frames:
        samples.setdefault((frame.dataset, frame.seq, frame.frame), []).append(frame)
    return tuple(CameraSample(*key, cameras=tuple(cameras)) for key, cameras in samples.items())


@dataclass(frozen=True)
class _Line:
    """One parsed line; every reader raises a ValueError that names file, line and field."""

    fields: dict[str, Any]
    where: str

    def error(self, field: str, value: object, wanted: str) -> ValueError:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return ValueError(f"{self.where}: {field}={shown}; expected {wanted}")

    def required(self, field: str) -> Any:
        if field not in self.fields:
            raise ValueError(f"{self.where}: the field {field!r} is missing")
        return self.fields[field]

    def text(self, field: str) -> str:
        value = self.required(field)
        if not isinstance(value, str) or not value:
            raise self.error(field, value, "a name")
        return value

    def integer(self, field: str, least: int) -> int:
        value = self.required(field)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.error(field, value, f"a whole number of at least {least}")
        return value

    def array(self, field: str, shape: tuple[int, ...], value: Any = None) -> Float[np.ndarray, "..."]:
        value = self.required(field) if value is None else value
        wanted = f"finite numbers of shape {' x '.join(map(str, shape))}"
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self.error(field, value, wanted) from error
        if numbers.shape != shape or not np.isfinite(numbers).all():
            raise self.error(field, value, wanted)
        return numbers

    def rigid_transform(self, field: str) -> Float[np.ndarray, "4 4"]:
        transform = self.array(field, (4, 4))
        rotation = transform[:3, :3]
        orthogonal = np.abs(rotation @ rotation.T - np.eye(3)).max() <= ROTATION_TOLERANCE
        if not orthogonal or np.linalg.det(rotation) < 0 or not np.allclose(transform[3], (0, 0, 0, 1)):
            raise self.error(
                field,
                self.fields[field],
                "a rigid transform: a rotation, a translation and the last row 0 0 0 1",
            )
        return transform


def _parse_line(text: str, index: Path, number: int) -> CameraFrame:
    where = f"{index} line {number}"
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: is not JSON ({error.msg} at column {error.colno})") from error
    if not isinstance(fields, dict):
        raise ValueError(
            f"{where}: is a JSON {type(fields).__name__}; expected an object with the fields of one image"
        )
    line = _Line(fields, where)
    ego_frame = fields.get("ego_frame", "rear_axle")
    if ego_frame not in RIG_FROM_EGO_M:
        raise line.error("ego_frame", ego_frame, f"one of {sorted(RIG_FROM_EGO_M)}")
    return CameraFrame(
        dataset=line.text("dataset"),
        seq=line.text("seq"),
        frame=line.integer("frame", 0),
        camera=line.text("cam"),
        image=index.parent / line.text("image"),
        width=line.integer("width", 1),
        height=line.integer("height", 1),
        timestamp_s=_timestamp(line),
        intrinsics=_intrinsics(line),
        ego_from_camera=line.rigid_transform("cam_to_ego"),
        world_from_ego=None
        if line.required("ego_to_world") is None
        else line.rigid_transform("ego_to_world"),
        boxes=_boxes(line),
        ego_frame=ego_frame,
        ground_plane_ego=_ground_plane(line),
        pseudo_labels="label_source" in fields,
        where=where,
    )


def _intrinsics(line: _Line) -> Float[np.ndarray, "3 3"]:
    matrix = line.array("K", (3, 3))
    triangular = np.allclose(matrix[[1, 2, 2], [0, 0, 1]], 0) and np.isclose(matrix[2, 2], 1)
    if not triangular or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise line.error("K", line.fields["K"], "a pinhole matrix: positive focal lengths, last row 0 0 1")
    return matrix


def _timestamp(line: _Line) -> float | None:
    """Seconds; in the file text is an ISO date, an integer counts microseconds, and a float seconds."""
    value = line.required("timestamp")
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError as error:
            raise line.error("timestamp", value, "an ISO date, microseconds, seconds, or null") from error
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise line.error("timestamp", value, "an ISO date, microseconds, seconds, or null")
    return value / 1e6 if isinstance(value, int) else value


def _ground_plane(line: _Line) -> Float[np.ndarray, " 4"] | None:
    if line.fields.get("ground_plane_ego") is None:
        return None
    plane = line.array("ground_plane_ego", (4,))
    norm = np.linalg.norm(plane[:3])
    if norm < 1e-6 or plane[2] / norm < 0.9:
        raise line.error(
            "ground_plane_ego", line.fields["ground_plane_ego"], "a plane whose normal points up"
        )
    return plane / norm


def _boxes(line: _Line) -> Boxes:
    items = line.required("boxes")
    if not isinstance(items, list):
        raise line.error("boxes", items, "a list of boxes")
    corners, sizes = np.zeros((len(items), 8, 3)), np.zeros((len(items), 3))
    kinds = np.zeros(len(items), np.int64)
    for i, item in enumerate(items):
        name = f"boxes[{i}]"
        for key in ("cls", "lwh", "corners_cam"):
            if not isinstance(item, dict) or key not in item:
                raise ValueError(f"{line.where}: the field '{name}.{key}' is missing")
        corners[i] = line.array(f"{name}.corners_cam", (8, 3), item["corners_cam"])
        sizes[i] = line.array(f"{name}.lwh", (3,), item["lwh"])
        if (sizes[i] <= 0).any():
            raise line.error(f"{name}.lwh", item["lwh"], "positive length, width and height in metres")
        measured = np.linalg.norm(corners[i, [0, 1]].mean(0) - corners[i, [2, 3]].mean(0))
        if abs(measured - sizes[i, 0]) > SIZE_TOLERANCE_M:
            raise line.error(
                f"{name}.corners_cam",
                item["corners_cam"],
                f"corners in the order front, front, rear, rear, {sizes[i, 0]} m long as lwh says",
            )
        if str(item["cls"]).lower() not in KIND_OF_CLASS_NAME:
            raise line.error(f"{name}.cls", item["cls"], f"one of {sorted(KIND_OF_CLASS_NAME)} in any case")
        kinds[i] = KIND_OF_CLASS_NAME[str(item["cls"]).lower()]
    return Boxes(corners, sizes, kinds)
