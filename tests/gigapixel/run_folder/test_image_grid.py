"""Pictures keep their pixels at the position that rows, columns, titles and gaps give them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gigapixel.run_folder.image_grid import GridCell, GridStyle, TextLine, fit_width, image_grid, split_rows

STYLE = GridStyle(
    gap_px=3,
    background=(9, 9, 9),
    caption=TextLine(20, 12, (255, 255, 255)),
    row_title=TextLine(30, 12, (0, 255, 0)),
    column_title=TextLine(40, 12, (0, 0, 255)),
)


def picture(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_columns_are_as_wide_and_rows_as_high_as_their_largest_picture() -> None:
    rows = [[picture(5, 10, 50), picture(8, 4, 60)], [picture(6, 20, 70)]]
    grid = np.asarray(image_grid(rows, STYLE))
    expected = np.full((3 + 8 + 3 + 6 + 3, 3 + 20 + 3 + 4 + 3, 3), 9, np.uint8)
    expected[3:8, 3:13], expected[3:11, 26:30], expected[14:20, 3:23] = 50, 60, 70
    np.testing.assert_array_equal(grid, expected)


def test_titles_and_captions_have_their_own_lines_only_where_they_are_given() -> None:
    rows = [[GridCell(picture(5, 60, 50), "caption")], [picture(5, 60, 60)]]
    grid = np.asarray(image_grid(rows, STYLE, row_titles=["row", None], column_titles=["column"], top_px=7))
    first, second = 7 + 40 + 30 + 20, 7 + 40 + 30 + 20 + 5 + 3
    assert grid.shape == (second + 5 + 3, 66, 3)
    assert (grid[first : first + 5, 3:63] == 50).all()
    assert (grid[second : second + 5, 3:63] == 60).all()
    lines = {(0, 0, 255): (7, 47), (0, 255, 0): (47, 77), (255, 255, 255): (77, 97)}
    for colour, (top, bottom) in lines.items():
        inside = (grid == colour).all(-1).any(axis=1)
        assert inside[top:bottom].any(), f"text of colour {colour} between {top} and {bottom}"
        assert not inside[:top].any()
        assert not inside[bottom:].any()


def test_a_mark_is_drawn_before_its_caption() -> None:
    grid = np.asarray(image_grid([[GridCell(picture(4, 60, 50), "text", mark=(255, 0, 0))]], STYLE))
    rows, columns = np.nonzero((grid == (255, 0, 0)).all(-1))
    assert (columns.min(), columns.max()) == (3, 3 + 12)
    assert (rows.min(), rows.max()) == (3 + 4, 3 + 16)
    assert not (grid[:, 3:20] == 255).all(-1).any(), "the text is to the right of it"


def test_cells_are_resized_to_one_width() -> None:
    small = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    grid = np.asarray(image_grid([[small], [picture(20, 12, 80)]], STYLE, cell_width_px=6))
    assert grid.shape == (3 + 4 + 3 + 10 + 3, 12, 3)
    np.testing.assert_array_equal(grid[3:7, 3:9], small.repeat(2, axis=0).repeat(2, axis=1))
    assert (grid[10:20, 3:9] == 80).all()


def test_small_pictures_are_enlarged_without_smoothing() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 2] = (250, 10, 10)
    large = np.asarray(fit_width(image, 12))
    assert large.shape == (8, 12, 3)
    assert (large[:4, 8:] == (250, 10, 10)).all()
    assert large.sum() == 16 * 270


def test_a_picture_of_the_right_width_is_not_resampled() -> None:
    image = Image.new("RGB", (7, 3))
    assert fit_width(image, 7) is image


def test_cells_are_split_into_rows() -> None:
    cells = [picture(1, 1, value) for value in range(5)]
    rows = split_rows(cells, 2)
    assert [[int(cell[0, 0, 0]) for cell in row] for row in rows] == [[0, 1], [2, 3], [4]]


def test_wrong_arguments_are_rejected() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        image_grid([[]])
    with pytest.raises(ValueError, match="1 rows and 1 columns was given 2 row titles"):
        image_grid([[picture(1, 1, 0)]], row_titles=["a", "b"])
    with pytest.raises(ValueError, match="2 column titles; expected one per row and at most one per column"):
        image_grid([[picture(1, 1, 0)]], column_titles=["a", "b"])
