"""`gigapixel render --frame DATASET/SCENE[/FRAME] --output pair.png`: real pictures beside their renderings.

One row per camera of one real moment: the real picture, the rendering of the same moment through the same
calibration, and the rendering's outlines over the real picture. Nothing is cropped or turned. Needs real data (see
`adaptation.frames.camera_log`), and neither JAX nor a simulator.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from adaptation.frames.calibrated_rig import own_rig
from adaptation.frames.camera_frame import CameraFrame, Moment
from adaptation.frames.camera_log import CameraLog
from adaptation.pairs.lanes import LaneMap, lane_map_of
from adaptation.pairs.outline_overlay import BOX_RGB, PAINT_RGB, traced
from adaptation.pairs.reconstruction import ground_normal_rig, scene_of
from gigapixel.pictures.layout import BACKGROUND, FAINT, GAP, HEADER, LABEL, TEXT, Colour, font
from renderer.palette import ClassId
from renderer.render import render

WIDTH_PX = 480
COLUMNS = (
    "the real picture",
    "its rendering through the same calibration",
    "outlines of the rendering over the real picture",
)
LEGEND: tuple[tuple[str, Colour], ...] = (
    ("car", BOX_RGB[ClassId.CAR]),
    ("truck", BOX_RGB[ClassId.TRUCK]),
    ("cyclist", BOX_RGB[ClassId.CYCLIST]),
    ("pedestrian", BOX_RGB[ClassId.PEDESTRIAN]),
    ("other", BOX_RGB[ClassId.STATIC]),
    ("white paint", PAINT_RGB[ClassId.MARKING_WHITE]),
    ("yellow paint", PAINT_RGB[ClassId.MARKING_YELLOW]),
    ("road edge", PAINT_RGB[ClassId.ROAD_EDGE]),
)


@dataclass(frozen=True)
class Row:
    """One camera: its label, and its pictures in the order of COLUMNS, all of one size."""

    label: str
    pictures: tuple[UInt8[np.ndarray, "height width 3"], ...]


def pair_picture(
    name: str,
    cameras: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    backend: str = "auto",
) -> Image.Image:
    """The whole picture of one real moment.

    Args:
        name: DATASET/SCENE/FRAME, or DATASET/SCENE for the first frame of the scene.
        cameras: Cameras to show, in this order; None shows all, in the order of the log.
        size: (width, height) of each picture in pixels; None is WIDTH_PX wide, each with its own aspect.
        backend: Renderer backend.

    Raises:
        ValueError: There is no such frame or camera, or the size would stretch a picture.
        OSError: A file of the data is missing.
    """
    camera_log = CameraLog.load()
    moment = find_moment(camera_log, name)
    frames = find_cameras(moment, cameras)
    widths = [picture_width(frame, size) for frame in frames]
    lanes = lane_map_of(camera_log.root, moment.dataset, moment.seq)
    normal = ground_normal_rig(moment)
    rows = [
        make_row(frame, width, normal, lanes, backend) for frame, width in zip(frames, widths, strict=True)
    ]
    return compose(rows, f"{moment.dataset}, {moment.seq}, frame {moment.frame}")


def find_moment(camera_log: CameraLog, name: str) -> Moment:
    """The moment of that name, or the first of the scene of that name; refused with what there is."""
    for moment in camera_log.moments:
        if name in (moment.scene, moment.name):
            return moment
    scene, _, frame = name.rpartition("/")
    held = camera_log.of_scenes([scene])
    if held:
        numbers = spans([moment.frame for moment in held])
        raise ValueError(f"--frame {name}: {scene} has no frame {frame!r}; it has {numbers}")
    index = camera_log.root / "camera" / "frames.jsonl"
    raise ValueError(
        f"--frame {name}: {index} has no such scene; give DATASET/SCENE or DATASET/SCENE/FRAME with one of "
        + ", ".join(camera_log.scenes)
    )


def spans(numbers: Sequence[int]) -> str:
    """Whole numbers in words, e.g. "0-11, 21"."""
    ordered = sorted(numbers)
    runs = [
        [number for _, number in run]
        for _, run in itertools.groupby(enumerate(ordered), lambda p: p[1] - p[0])
    ]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def find_cameras(moment: Moment, names: Sequence[str] | None) -> list[CameraFrame]:
    """The named cameras of a moment, in the order given; refused with what there is."""
    held = {frame.camera: frame for frame in moment.cameras}
    chosen = list(held) if names is None else list(names)
    for name in chosen:
        if name not in held:
            raise ValueError(f"--camera {name}: {moment.name} has no such camera; it has {', '.join(held)}")
        if chosen.count(name) > 1:
            raise ValueError(f"--camera names {name} twice; name each camera once")
    return [held[name] for name in chosen]


def picture_width(frame: CameraFrame, size: tuple[int, int] | None) -> int:
    """Width at which a real picture is shown, px; refused where (width, height) is not of its aspect."""
    if size is None:
        return WIDTH_PX
    width, height = size
    wanted = own_rig(frame, width).height
    if height != wanted:
        raise ValueError(
            f"--size {width}x{height} would stretch the picture of {frame.camera}, which is "
            f"{frame.width}x{frame.height}; try {width}x{wanted}"
        )
    return width


def make_row(
    frame: CameraFrame,
    width: int,
    normal: Float[np.ndarray, " 3"],
    lanes: LaneMap | None,
    backend: str = "auto",
) -> Row:
    """One camera's pictures, `width` pixels wide; `normal` is the ground's, in the rig's frame."""
    rig = own_rig(frame, width)
    resized = Image.fromarray(frame.picture()).resize((rig.width, rig.height), Image.Resampling.BOX)
    real, scene = np.asarray(resized), scene_of(frame, normal, lanes)
    rendering = render(scene, rig, channels=("rgb",), backend=backend).rgb[0, 0].cpu().numpy()
    pictures = (real, rendering, traced(real, scene, rig, backend))
    return Row(row_label(frame, lanes is not None), pictures)


def row_label(frame: CameraFrame, has_map: bool) -> str:
    """What is known about one camera's picture."""
    count = len(frame.boxes)
    boxes = f"{count} {'box' if count == 1 else 'boxes'}" + (
        " (not ground truth)" if frame.pseudo_labels else ""
    )
    ground = "road from a lane map" if has_map else "no map: all ground is drawn as road"
    return f"{frame.camera}: {frame.width} x {frame.height} px, {boxes}, {ground}"


def compose(rows: Sequence[Row], title: str) -> Image.Image:
    """The rows under a title, a legend and the names of the columns."""
    heights = [LABEL + row.pictures[0].shape[0] + GAP for row in rows]
    column = max(row.pictures[0].shape[1] for row in rows) + GAP
    sheet = Image.new("RGB", (GAP + len(COLUMNS) * column, HEADER + LABEL + sum(heights)), BACKGROUND)
    brush = ImageDraw.Draw(sheet)
    brush.text((GAP, 10), title, fill=TEXT, font=font(24))
    left = float(GAP)
    for text, colour in LEGEND:
        brush.text((left, 40), text, fill=colour, font=font(14))
        left += brush.textlength(text, font=font(14)) + GAP
    for place, text in enumerate(COLUMNS):
        brush.text((GAP + place * column, HEADER + 5), text, fill=TEXT, font=font(15))
    top = HEADER + LABEL
    for row, height in zip(rows, heights, strict=True):
        brush.text((GAP, top + 5), row.label, fill=FAINT, font=font(14))
        for place, picture in enumerate(row.pictures):
            sheet.paste(Image.fromarray(picture), (GAP + place * column, top + LABEL))
        top += height
    return sheet
