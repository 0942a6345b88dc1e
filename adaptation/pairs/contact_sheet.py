"""Contact sheets: the real picture, its rendering and one laid over the other, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from adaptation.frames.calibrated_rig import own_rig
from adaptation.frames.camera_frame import CameraFrame
from adaptation.frames.camera_log import CameraLog
from adaptation.pairs.lanes import lane_map_of
from adaptation.pairs.pair import Pair
from adaptation.pairs.paired_frames import render_frame
from adaptation.pairs.reconstruction import ground_normal_rig

COLUMNS = ("real", "rendering", "overlay")
INK = (24, 26, 30)
TEXT = (225, 228, 232)
CAPTION_PX = 16


def overlay(
    real: UInt8[np.ndarray, "height width 3"],
    rendering: UInt8[np.ndarray, "height width 3"],
    share: float = 0.5,
) -> UInt8[np.ndarray, "height width 3"]:
    """The rendering laid over the real picture with this share."""
    return np.rint((1 - share) * real + share * rendering).astype(np.uint8)


def tile(
    rows: Sequence[tuple[str, Sequence[UInt8[np.ndarray, "_ _ 3"]]]], titles: Sequence[str]
) -> Image.Image:
    """Captioned rows of pictures under column titles; pictures of a row share one size."""
    gap = 4
    widths = [sum(p.shape[1] + gap for p in pictures) for _, pictures in rows]
    heights = [max(p.shape[0] for p in pictures) + CAPTION_PX + gap for _, pictures in rows]
    sheet = Image.new("RGB", (max(widths) + gap, sum(heights) + CAPTION_PX + gap), INK)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    column_px = rows[0][1][0].shape[1] + gap
    for i, title in enumerate(titles):
        draw.text((gap + i * column_px, 2), title, TEXT, font)
    top = CAPTION_PX
    for (caption, pictures), height in zip(rows, heights):
        draw.text((gap, top + 2), caption, TEXT, font)
        left = gap
        for picture in pictures:
            sheet.paste(Image.fromarray(picture), (left, top + CAPTION_PX))
            left += picture.shape[1] + gap
        top += height
    return sheet


def pair_sheet(
    pairs: Sequence[Pair], names: Sequence[str], scale: int = 3, real_title: str = "real"
) -> Image.Image:
    """What the student gets: a row per moment and unmasked camera of the student's rig."""
    rows = []
    for pair in pairs:
        for index, name in enumerate(names):
            if pair.camera_mask[index]:
                real, rendering = _enlarged(pair.real[index], scale), _enlarged(pair.rendering[index], scale)
                rows.append((f"{pair.name}  {name}", [real, rendering, overlay(real, rendering)]))
    if not rows:
        raise ValueError("there is no pair with an unmasked camera to draw")
    return tile(rows, (real_title, *COLUMNS[1:]))


def _enlarged(picture: UInt8[Tensor, "height width 3"], scale: int) -> UInt8[np.ndarray, "tall wide 3"]:
    return np.asarray(picture).repeat(scale, axis=0).repeat(scale, axis=1)


def calibration_sheet(
    camera_log: CameraLog, frames: Sequence[CameraFrame], width_px: int = 480, backend: str = "auto"
) -> Image.Image:
    """Real pictures through their own calibration, to judge whether boxes and lanes lie where they should."""
    rows = []
    for frame in frames:
        moment = next(m for m in camera_log.moments if frame in m.cameras)
        rig = own_rig(frame, width_px)
        lanes = lane_map_of(camera_log.root, frame.dataset, frame.seq)
        rendering = render_frame(frame, rig, ground_normal_rig(moment), lanes, backend)
        real = np.asarray(
            Image.fromarray(frame.picture()).resize((rig.width, rig.height), Image.Resampling.BOX)
        )
        rows.append((f"{moment.name}  {frame.camera}", [real, rendering, overlay(real, rendering)]))
    return tile(rows, COLUMNS)


def save(sheet: Image.Image, path: str | Path) -> None:
    """Write a PNG; it appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    sheet.save(temporary, format="PNG")
    temporary.replace(path)
