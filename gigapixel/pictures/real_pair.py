"""`gigapixel render --frame DATASET/SCENE[/FRAME] --output pair.png`: real images beside their renderings.

One row per camera of one real sample: the real image, the rendering of the same instant through the same calibration,
and the outlines of the rendering over the real image. Nothing is cropped or rotated. Needs real data (see
`adaptation.frames.camera_log`), but neither JAX nor a simulator.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from adaptation.frames.calibrated_rig import rig_of_frame
from adaptation.frames.camera_frame import CameraFrame, CameraSample
from adaptation.frames.camera_log import CameraLog
from adaptation.pairs.lanes import LaneMap, lane_map_of
from adaptation.pairs.outline_overlay import BOX_RGB, PAINT_RGB, overlay_outlines
from adaptation.pairs.reconstruction import ground_normal_rig, scene_of_frame
from gigapixel.pictures.layout import GAP_PX, HEADER_PX, OVERVIEW_STYLE, TEXT, Colour
from gigapixel.run_folder.image_grid import image_grid, load_font
from renderer.palette import ClassId
from renderer.render import render

DEFAULT_WIDTH_PX = 480
COLUMN_TITLES = (
    "the real picture",
    "its rendering through the same calibration",
    "outlines of the rendering over the real picture",
)
COLOUR_LEGEND: tuple[tuple[str, Colour], ...] = (
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
class CameraRow:
    """One camera: its label, and its pictures in the order of COLUMN_TITLES, all of one size."""

    label: str
    pictures: tuple[UInt8[np.ndarray, "height width 3"], ...]


def pair_picture(
    name: str,
    cameras: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    backend: str = "auto",
) -> Image.Image:
    """The image grid of one real sample.

    Args:
        name: DATASET/SCENE/FRAME, or DATASET/SCENE for the first frame of the scene.
        cameras: Cameras to show, in this order; None shows all, in the order of the log.
        size: (width, height) of each image in pixels; None is DEFAULT_WIDTH_PX wide, each with its own aspect.
        backend: Renderer backend.

    Raises:
        ValueError: There is no such frame or camera, or the size would change the aspect of an image.
        OSError: A file of the data is missing.
    """
    camera_log = CameraLog.load()
    sample = find_sample(camera_log, name)
    frames = find_cameras(sample, cameras)
    widths = [picture_width(frame, size) for frame in frames]
    lanes = lane_map_of(camera_log.root, sample.dataset, sample.seq)
    normal = ground_normal_rig(sample)
    rows = [
        make_camera_row(frame, width, normal, lanes, backend)
        for frame, width in zip(frames, widths, strict=True)
    ]
    return compose_pairs(rows, f"{sample.dataset}, {sample.seq}, frame {sample.frame}")


def find_sample(camera_log: CameraLog, name: str) -> CameraSample:
    """The sample of that name, or the first of the scene of that name; ValueError lists the existing ones."""
    for sample in camera_log.samples:
        if name in (sample.scene, sample.name):
            return sample
    scene, _, frame = name.rpartition("/")
    held = camera_log.samples_of_scenes([scene])
    if held:
        numbers = format_ranges([sample.frame for sample in held])
        raise ValueError(f"--frame {name}: {scene} has no frame {frame!r}; it has {numbers}")
    index = camera_log.root / "camera" / "frames.jsonl"
    raise ValueError(
        f"--frame {name}: {index} has no such scene; give DATASET/SCENE or DATASET/SCENE/FRAME with one of "
        + ", ".join(camera_log.scenes)
    )


def format_ranges(numbers: Sequence[int]) -> str:
    """Whole numbers as ranges, for example "0-11, 21"."""
    ordered = sorted(numbers)
    runs = [
        [number for _, number in run]
        for _, run in itertools.groupby(enumerate(ordered), lambda p: p[1] - p[0])
    ]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def find_cameras(sample: CameraSample, names: Sequence[str] | None) -> list[CameraFrame]:
    """The named cameras of a sample, in the order given; ValueError lists the existing ones."""
    held = {frame.camera: frame for frame in sample.cameras}
    chosen = list(held) if names is None else list(names)
    for name in chosen:
        if name not in held:
            raise ValueError(f"--camera {name}: {sample.name} has no such camera; it has {', '.join(held)}")
        if chosen.count(name) > 1:
            raise ValueError(f"--camera names {name} twice; name each camera once")
    return [held[name] for name in chosen]


def picture_width(frame: CameraFrame, size: tuple[int, int] | None) -> int:
    """Width at which a real image is shown, px. Raises ValueError where (width, height) has another aspect."""
    if size is None:
        return DEFAULT_WIDTH_PX
    width, height = size
    wanted = rig_of_frame(frame, width).height
    if height != wanted:
        raise ValueError(
            f"--size {width}x{height} would stretch the picture of {frame.camera}, which is "
            f"{frame.width}x{frame.height}; try {width}x{wanted}"
        )
    return width


def make_camera_row(
    frame: CameraFrame,
    width: int,
    normal: Float[np.ndarray, " 3"],
    lanes: LaneMap | None,
    backend: str = "auto",
) -> CameraRow:
    """The images of one camera, `width` pixels wide; `normal` is the normal of the ground in the frame of the rig."""
    rig = rig_of_frame(frame, width)
    resized = Image.fromarray(frame.load_image()).resize((rig.width, rig.height), Image.Resampling.BOX)
    real, scene = np.asarray(resized), scene_of_frame(frame, normal, lanes)
    rendering = render(scene, rig, channels=("rgb",), backend=backend).rgb[0, 0].cpu().numpy()
    pictures = (real, rendering, overlay_outlines(real, scene, rig, backend))
    return CameraRow(row_label(frame, lanes is not None), pictures)


def row_label(frame: CameraFrame, has_map: bool) -> str:
    """Name and size of a camera, number of boxes, and whether there is a map."""
    count = len(frame.boxes)
    boxes = f"{count} {'box' if count == 1 else 'boxes'}" + (
        " (not ground truth)" if frame.pseudo_labels else ""
    )
    ground = "road from a lane map" if has_map else "no map: all ground is drawn as road"
    return f"{frame.camera}: {frame.width} x {frame.height} px, {boxes}, {ground}"


def compose_pairs(rows: Sequence[CameraRow], title: str) -> Image.Image:
    """The rows under a title, a colour legend and the names of the columns."""
    grid = image_grid(
        [row.pictures for row in rows],
        OVERVIEW_STYLE,
        row_titles=[row.label for row in rows],
        column_titles=COLUMN_TITLES,
        top_px=HEADER_PX,
    )
    draw = ImageDraw.Draw(grid)
    draw.text((GAP_PX, 10), title, fill=TEXT, font=load_font(24))
    left = float(GAP_PX)
    for text, colour in COLOUR_LEGEND:
        draw.text((left, 40), text, fill=colour, font=load_font(14))
        left += draw.textlength(text, font=load_font(14)) + GAP_PX
    return grid
