"""Image grids of pairs: the real image, its rendering and a blend of both, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from adaptation.frames.calibrated_rig import rig_of_frame
from adaptation.frames.camera_frame import CameraFrame
from adaptation.frames.camera_log import CameraLog
from adaptation.pairs.lanes import lane_map_of
from adaptation.pairs.pair import Pair
from adaptation.pairs.paired_frames import render_frame
from adaptation.pairs.reconstruction import ground_normal_rig
from gigapixel.run_folder.image_grid import GridStyle, TextLine, image_grid

PAIR_COLUMNS = ("real", "rendering", "overlay")
TEXT_LINE = TextLine(16, 11, offset_px=(0, 2))
PAIR_GRID_STYLE = GridStyle(gap_px=4, row_title=TEXT_LINE, column_title=TEXT_LINE)


def blend(
    real: UInt8[np.ndarray, "height width 3"],
    rendering: UInt8[np.ndarray, "height width 3"],
    share: float = 0.5,
) -> UInt8[np.ndarray, "height width 3"]:
    """The weighted mean of both images; `share` is the weight of the rendering."""
    return np.rint((1 - share) * real + share * rendering).astype(np.uint8)


def pair_grid(
    pairs: Sequence[Pair], names: Sequence[str], scale: int = 3, real_title: str = "real"
) -> Image.Image:
    """The student's inputs: one row per pair and unmasked camera, `scale` times enlarged; `names` are the cameras'.

    Raises ValueError where there is no unmasked camera.
    """
    rows, titles = [], []
    for pair in pairs:
        for index, name in enumerate(names):
            if pair.camera_mask[index]:
                real, rendering = _enlarged(pair.real[index], scale), _enlarged(pair.rendering[index], scale)
                rows.append([real, rendering, blend(real, rendering)])
                titles.append(f"{pair.name}  {name}")
    if not rows:
        raise ValueError("there is no pair with an unmasked camera to draw")
    return image_grid(rows, PAIR_GRID_STYLE, row_titles=titles, column_titles=(real_title, *PAIR_COLUMNS[1:]))


def _enlarged(image: UInt8[Tensor, "height width 3"], scale: int) -> UInt8[np.ndarray, "tall wide 3"]:
    return np.asarray(image).repeat(scale, axis=0).repeat(scale, axis=1)


def calibration_grid(
    camera_log: CameraLog, frames: Sequence[CameraFrame], width_px: int = 480, backend: str = "auto"
) -> Image.Image:
    """Real images and their renderings with the same calibration, to judge the alignment of boxes and lanes."""
    rows, titles = [], []
    for frame in frames:
        sample = next(one for one in camera_log.samples if frame in one.cameras)
        rig = rig_of_frame(frame, width_px)
        lanes = lane_map_of(camera_log.root, frame.dataset, frame.seq)
        rendering = render_frame(frame, rig, ground_normal_rig(sample), lanes, backend)
        real = np.asarray(
            Image.fromarray(frame.load_image()).resize((rig.width, rig.height), Image.Resampling.BOX)
        )
        rows.append([real, rendering, blend(real, rendering)])
        titles.append(f"{sample.name}  {frame.camera}")
    return image_grid(rows, PAIR_GRID_STYLE, row_titles=titles, column_titles=PAIR_COLUMNS)
