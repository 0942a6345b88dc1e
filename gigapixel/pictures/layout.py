"""One picture out of many: every camera of an agent, labelled, with the view from above beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

BACKGROUND: Colour = (19, 25, 33)
TEXT: Colour = (226, 232, 240)
FAINT: Colour = (139, 152, 170)
ACCENTS: tuple[Colour, ...] = (
    (96, 165, 250), (251, 191, 36), (52, 211, 153), (244, 114, 182), (192, 132, 252), (251, 146, 60),
    (45, 212, 191), (163, 230, 53),
)  # fmt: skip
"""One colour per camera, on its label and on its field of view from above."""

CELL_WIDTH = 480
COLUMNS = 3
GAP = 12
LABEL = 28
HEADER = 64


@dataclass(frozen=True)
class Panel:
    """One camera picture with its label."""

    label: str
    picture: UInt8[np.ndarray, "height width 3"]
    accent: Colour


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that the same text gives the same pixels on every machine."""
    return ImageFont.load_default(size)


def fitted(picture: UInt8[np.ndarray, "height width 3"], width: int) -> Image.Image:
    """The picture `width` pixels wide: enlarged without smoothing, so that its own pixels stay visible."""
    image = Image.fromarray(picture)
    height = max(1, round(width * image.height / image.width))
    if image.size == (width, height):
        return image
    smooth = image.width > width
    return image.resize((width, height), Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)


def sheet_size(num_panels: int, cell_height: int) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Size (width, height) of a sheet, and the box (left, top, right, bottom) of its view from above.

    The first row holds up to three cameras; the others stack below on the left, the view from above beside them.
    """
    row = LABEL + cell_height + GAP
    stacked = max(num_panels - COLUMNS, 0)
    width = GAP + COLUMNS * (CELL_WIDTH + GAP)
    above_top = HEADER + row + LABEL
    above_height = max(stacked * row - GAP - LABEL, 2 * cell_height)
    left = GAP + (CELL_WIDTH + GAP if stacked else 0)
    box = (left, above_top, width - GAP, above_top + above_height)
    return (width, box[3] + GAP), box


def cell_origin(index: int, cell_height: int) -> tuple[int, int]:
    """Upper left corner (x, y) of the label of panel `index`."""
    row = LABEL + cell_height + GAP
    if index < COLUMNS:
        return GAP + index * (CELL_WIDTH + GAP), HEADER
    return GAP, HEADER + row * (index - COLUMNS + 1)


def compose(
    panels: Sequence[Panel], above: Image.Image, title: str, subtitle: str, notes: Sequence[str] = ()
) -> Image.Image:
    """The sheet. `above` must have the size of the box that `sheet_size` gives; notes fill the free corner."""
    pictures = [fitted(panel.picture, CELL_WIDTH) for panel in panels]
    cell_height = max(picture.height for picture in pictures)
    (width, height), box = sheet_size(len(panels), cell_height)
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    brush = ImageDraw.Draw(sheet)
    brush.text((GAP, 10), title, fill=TEXT, font=font(24))
    brush.text((GAP, 40), subtitle, fill=FAINT, font=font(14))
    for index, (panel, picture) in enumerate(zip(panels, pictures, strict=True)):
        x, y = cell_origin(index, cell_height)
        _label(brush, x, y, panel.label, panel.accent)
        sheet.paste(picture, (x, y + LABEL))
    _label(brush, box[0], box[1] - LABEL, "from above, north up", TEXT)
    sheet.paste(above, box[:2])
    if len(panels) > COLUMNS:
        x, y = cell_origin(len(panels), cell_height)
        for line, note in enumerate(notes):
            brush.text((x, y + 4 + 20 * line), note, fill=FAINT, font=font(14))
    return sheet


def _label(brush: ImageDraw.ImageDraw, x: int, y: int, text: str, accent: Colour) -> None:
    brush.rounded_rectangle((x, y + 8, x + 12, y + 20), radius=3, fill=accent)
    brush.text((x + 20, y + 5), text, fill=TEXT, font=font(15))


def shade_wedges(
    image: Image.Image, wedges: Sequence[Sequence[tuple[float, float]]], accents: Sequence[Colour]
) -> Image.Image:
    """Lay translucent fields of view (polygons in pixels) over a picture."""
    factor = 2
    for wedge, accent in zip(wedges, accents, strict=True):
        mask = Image.new("L", (image.width * factor, image.height * factor), 0)
        ImageDraw.Draw(mask).polygon([(x * factor, y * factor) for x, y in wedge], fill=46)
        image = Image.composite(Image.new("RGB", image.size, accent), image, mask.reduce(factor))
    return image
