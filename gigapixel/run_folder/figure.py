"""Images and matplotlib figures, written atomically."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gigapixel.run_folder.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def write_figure(path: str | os.PathLike[str], figure: Figure, dpi: int = 100) -> None:
    """Write a matplotlib figure as PNG; its size in pixels is its size in inches times `dpi`."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")


def write_image(path: str | os.PathLike[str], image: Image) -> None:
    """Write an image in the format that the suffix of `path` names. Raises ValueError for an unknown suffix."""
    with atomic_write(path) as temporary:
        image.save(temporary)
