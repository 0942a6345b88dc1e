"""The overview of `gigapixel render`: all cameras of an agent and the view from above; and the colours of images."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from gigapixel.run_folder.image_grid import (
    GridCell,
    GridStyle,
    TextLine,
    draw_text_line,
    image_grid,
    load_font,
)

Colour = tuple[int, int, int]

BACKGROUND: Colour = (19, 25, 33)
TEXT: Colour = (226, 232, 240)
FAINT: Colour = (139, 152, 170)
ACCENTS: tuple[Colour, ...] = (
    (96, 165, 250), (251, 191, 36), (52, 211, 153), (244, 114, 182), (192, 132, 252), (251, 146, 60),
    (45, 212, 191), (163, 230, 53),
)  # fmt: skip
"""One colour per camera, beside its name and for its field of view from above."""

CAMERA_WIDTH_PX = 480
CAMERA_COLUMNS = 3
GAP_PX = 12
CAPTION_PX = 28
HEADER_PX = 64
OVERVIEW_STYLE = GridStyle(
    gap_px=GAP_PX,
    background=BACKGROUND,
    caption=TextLine(CAPTION_PX, 15, TEXT, (0, 5)),
    row_title=TextLine(CAPTION_PX, 14, FAINT, (0, 5)),
    column_title=TextLine(CAPTION_PX, 15, TEXT, (0, 5)),
)


def overview_size(num_cameras: int, camera_height: int) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Size (width, height) of an overview, and the box (left, top, right, bottom) of its view from above, px.

    The first row holds up to CAMERA_COLUMNS cameras; the others stack below on the left, the view from above is beside
    them.
    """
    row = CAPTION_PX + camera_height + GAP_PX
    stacked = max(num_cameras - CAMERA_COLUMNS, 0)
    width = GAP_PX + CAMERA_COLUMNS * (CAMERA_WIDTH_PX + GAP_PX)
    top = HEADER_PX + row + CAPTION_PX
    bottom = top + max(stacked * row - GAP_PX - CAPTION_PX, 2 * camera_height)
    left = GAP_PX + (CAMERA_WIDTH_PX + GAP_PX if stacked else 0)
    return (width, bottom + GAP_PX), (left, top, width - GAP_PX, bottom)


def compose_overview(
    cameras: Sequence[GridCell], top_down: Image.Image, title: str, subtitle: str, notes: Sequence[str] = ()
) -> Image.Image:
    """The overview of an agent.

    Args:
        cameras: The camera images, all of one size, with their names as captions.
        top_down: The view from above, of the size of the box that `overview_size` returns.
        title: First line of the heading.
        subtitle: Second line of the heading.
        notes: Lines of text below the stacked cameras, shown where there are any.
    """
    first_row = image_grid(
        [cameras[:CAMERA_COLUMNS]], OVERVIEW_STYLE, cell_width_px=CAMERA_WIDTH_PX, top_px=HEADER_PX
    )
    size, box = overview_size(len(cameras), first_row.height - HEADER_PX - CAPTION_PX - GAP_PX)
    overview = Image.new("RGB", size, BACKGROUND)
    overview.paste(first_row)
    draw = ImageDraw.Draw(overview)
    draw.text((GAP_PX, 10), title, fill=TEXT, font=load_font(24))
    draw.text((GAP_PX, 40), subtitle, fill=FAINT, font=load_font(14))
    stacked = [[camera] for camera in cameras[CAMERA_COLUMNS:]]
    if stacked:
        column = image_grid(stacked, OVERVIEW_STYLE, cell_width_px=CAMERA_WIDTH_PX, top_px=0)
        overview.paste(column, (0, first_row.height))
        for line, note in enumerate(notes):
            y = first_row.height + column.height + 4 + 20 * line
            draw.text((GAP_PX, y), note, fill=FAINT, font=load_font(14))
    draw_text_line(
        draw, (box[0], box[1] - CAPTION_PX), "from above, north up", OVERVIEW_STYLE.caption, mark=TEXT
    )
    overview.paste(top_down, box[:2])
    return overview


def shade_areas(
    image: Image.Image, areas: Sequence[Sequence[tuple[float, float]]], accents: Sequence[Colour]
) -> Image.Image:
    """A copy of the image with translucent polygons; `areas` has their corners (x, y) in pixels."""
    supersampling = 2
    for area, accent in zip(areas, accents, strict=True):
        mask = Image.new("L", (image.width * supersampling, image.height * supersampling), 0)
        ImageDraw.Draw(mask).polygon([(x * supersampling, y * supersampling) for x, y in area], fill=46)
        image = Image.composite(Image.new("RGB", image.size, accent), image, mask.reduce(supersampling))
    return image
