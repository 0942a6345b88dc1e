"""Images in rows and columns, with titles and captions: the layout of every contact sheet, filmstrip and overview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

RGB = tuple[int, int, int]
Picture = Image.Image | UInt8[np.ndarray, "_ _ 3"]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MARK_PX = 12  # side of the coloured square before a caption


@dataclass(frozen=True)
class TextLine:
    """How one kind of text is set.

    Attributes:
        height_px: Height reserved for the line.
        font_px: Size of the font.
        colour: Colour of the text.
        offset_px: (x, y) of the text from the upper left corner of its line.
    """

    height_px: int
    font_px: int
    colour: RGB = (225, 228, 232)
    offset_px: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class GridStyle:
    """Colours, fonts and distances of a grid.

    Attributes:
        gap_px: Distance between cells, and between the cells and the border of the image.
        background: Colour of gaps, and of cells that are larger than their picture.
        caption: Text above a cell.
        row_title: Text above a row.
        column_title: Text above a column.
    """

    gap_px: int = 6
    background: RGB = (24, 26, 30)
    caption: TextLine = TextLine(20, 14, offset_px=(2, 0))
    row_title: TextLine = TextLine(20, 14, offset_px=(2, 0))
    column_title: TextLine = TextLine(20, 14, offset_px=(2, 0))


@dataclass(frozen=True)
class GridCell:
    """One picture of a grid.

    Attributes:
        picture: A Pillow image or [height, width, 3] u8.
        caption: Text above the picture; None leaves no line where no other cell of the row has a caption either.
        mark: Colour of a small square before the caption; None draws none.
    """

    picture: Picture
    caption: str | None = None
    mark: RGB | None = None


def load_font(size_px: float) -> Font:
    """Pillow's own font, so that the same text gives the same pixels on every machine."""
    return ImageFont.load_default(size_px)


def fit_width(picture: Picture, width_px: int) -> Image.Image:
    """The picture `width_px` wide with its own aspect: enlarged without smoothing, so that its pixels stay visible."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    height = max(1, round(width_px * image.height / image.width))
    if image.size == (width_px, height):
        return image
    smooth = image.width > width_px
    return image.resize((width_px, height), Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)


def split_rows(cells: Sequence[GridCell | Picture], columns: int) -> list[Sequence[GridCell | Picture]]:
    """The cells in rows of `columns`; the last row may be shorter."""
    return [cells[first : first + columns] for first in range(0, len(cells), columns)]


def image_grid(
    rows: Sequence[Sequence[GridCell | Picture]],
    style: GridStyle = GridStyle(),
    *,
    row_titles: Sequence[str | None] | None = None,
    column_titles: Sequence[str] | None = None,
    cell_width_px: int | None = None,
    top_px: int | None = None,
) -> Image.Image:
    """Pictures in rows from top to bottom and from left to right, each at the upper left corner of its cell.

    A column is as wide as its widest picture and a row as high as its highest. From top to bottom a row consists of
    its title, the captions of its cells and the pictures.

    Args:
        rows: The cells; rows may differ in length.
        style: Colours, fonts and distances.
        row_titles: One per row; None, for the whole grid or for a row, leaves no line.
        column_titles: One per column, above the first row.
        cell_width_px: Width that every picture is resized to, see `fit_width`; None keeps their sizes.
        top_px: Blank space above the grid, for example for a heading; None is one gap.

    Returns:
        A new RGB image.

    Raises:
        ValueError: There is no picture, or the number of titles is wrong.
    """
    cells = [[cell if isinstance(cell, GridCell) else GridCell(cell) for cell in row] for row in rows]
    if not any(cells):
        raise ValueError("an image grid needs at least one picture")
    titles = [None] * len(cells) if row_titles is None else list(row_titles)
    columns = max(map(len, cells))
    if len(titles) != len(cells) or len(column_titles or ()) > columns:
        raise ValueError(
            f"an image grid of {len(cells)} rows and {columns} columns was given {len(titles)} row titles and "
            f"{len(column_titles or ())} column titles; expected one per row and at most one per column"
        )

    def resized(picture: Picture) -> Image.Image:
        if cell_width_px is not None:
            return fit_width(picture, cell_width_px)
        return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)

    images = [[resized(cell.picture) for cell in row] for row in cells]
    gap = style.gap_px
    widths = [max(row[column].width for row in images if column < len(row)) for column in range(columns)]
    lefts = [gap + sum(widths[:column]) + column * gap for column in range(columns)]
    y = gap if top_px is None else top_px
    column_titles_y = y
    if column_titles is not None:
        y += style.column_title.height_px

    placed: list[
        tuple[int, int | None, int]
    ] = []  # per row the y of its title, of its captions and of its pictures
    for row, pictures, title in zip(cells, images, titles, strict=True):
        title_y = y
        if title is not None:
            y += style.row_title.height_px
        caption_y = y if any(cell.caption is not None for cell in row) else None
        if caption_y is not None:
            y += style.caption.height_px
        placed.append((title_y, caption_y, y))
        y += max((picture.height for picture in pictures), default=0) + gap

    grid = Image.new("RGB", (lefts[-1] + widths[-1] + gap, y), style.background)
    draw = ImageDraw.Draw(grid)
    for x, title in zip(lefts, column_titles or ()):
        draw_text_line(draw, (x, column_titles_y), title, style.column_title)
    for row, pictures, title, (title_y, caption_y, picture_y) in zip(
        cells, images, titles, placed, strict=True
    ):
        if title is not None:
            draw_text_line(draw, (gap, title_y), title, style.row_title)
        for x, cell, picture in zip(lefts, row, pictures):
            if cell.caption is not None and caption_y is not None:
                draw_text_line(draw, (x, caption_y), cell.caption, style.caption, cell.mark)
            grid.paste(picture, (x, picture_y))
    return grid


def draw_text_line(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, line: TextLine, mark: RGB | None = None
) -> None:
    """Draw text into its line, of which `corner` is the upper left (x, y) in pixels; see `GridCell` for the mark."""
    x, y = corner
    if mark is not None:
        top = y + (line.height_px - MARK_PX) // 2
        draw.rounded_rectangle((x, top, x + MARK_PX, top + MARK_PX), radius=3, fill=mark)
        x += 20
    draw.text(
        (x + line.offset_px[0], y + line.offset_px[1]), text, fill=line.colour, font=load_font(line.font_px)
    )
