"""Anti-aliased decals (lane paint and traffic lights): exact area coverage of every pixel.

A painted line is 12 cm wide; sixty metres ahead that is a seventh of a pixel in an image of 96 x 54, and sampling at
pixel centres would draw a row of dots. So every pixel holds, for each layer of `palette.LAYER_MATERIALS`, the share of
its square that triangles of this layer cover. The shares are exact areas; those of one layer are added (pieces of a
line share edges and do not overlap) and clamped to 1. A triangle counts in a pixel if its plane, extended to the
pixel's centre, passes the depth test against the surface there. Our own choice; areas are integrals along edges, as in
font rasterisers.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from renderer.palette import DEPTH_BIAS, MATERIAL_LAYER, NUM_LAYERS

MIN_COVERAGE = 1e-4  # share of a pixel below which a triangle is ignored


@dataclass(frozen=True)
class Coverage:
    """Coverage of the pixels of several views by decals.

    Attributes:
        share: [layers, *views, height, width] f32 in [0, 1], covered share of the pixel's area.
        near: [layers, *views, height, width] f32, mean distance along the ray in draw distances; 0 if share is 0.
    """

    share: Tensor
    near: Tensor


def cover(
    view: Int[Tensor, "triangles"],
    corners: Float[Tensor, "triangles 3 3"],
    material: Int[Tensor, "triangles"],
    matrix: Float[Tensor, "triangles 3 3"],
    rays: Float[Tensor, "views height width 3"],
    surface: Float[Tensor, "views height width"],
    near_m: float,
    draw_distance_m: float,
) -> Coverage:
    """Coverage of every pixel by decal triangles.

    Args:
        view: index of the view that a triangle is drawn in.
        corners: m, in that view's camera frame; clipped at the near plane `near_m`.
        material: one of `palette.LAYER_MATERIALS`.
        matrix: intrinsics of that view's camera, pixels.
        rays: of every pixel, camera frame, z = 1.
        surface: depth bias / depth of the surface at each pixel's centre, 0 for none.
        draw_distance_m: triangles further distance along the ray are not drawn.
    """
    _, height, width, _ = rays.shape
    share = torch.zeros((NUM_LAYERS, *surface.shape), dtype=torch.float64, device=surface.device)
    near = torch.zeros_like(share)
    corners, origin = clip_near(corners.double(), near_m)
    view, material, matrix = view[origin], material[origin], matrix[origin].double()
    pixels = torch.einsum("nij,nkj->nki", matrix, corners)
    triangle, row, column, covered = pixel_shares(pixels[..., :2] / pixels[..., 2:], height, width)
    ray = rays[view[triangle], row, column].double()
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    offset = (normal * corners[:, 0]).sum(-1)[triangle]
    inverse = (normal[triangle] * ray).sum(-1) / torch.where(offset == 0, torch.inf, offset)  # 1/depth
    distance = ray.norm(dim=-1) / (inverse * draw_distance_m)
    seen = (inverse > 0) & (distance <= 1) & (inverse * DEPTH_BIAS >= surface[view[triangle], row, column])
    layer = torch.as_tensor(MATERIAL_LAYER, device=material.device)[material[triangle]]
    entry = tuple(index[seen] for index in (layer, view[triangle], row, column))
    share.index_put_(entry, covered[seen], accumulate=True)
    near.index_put_(entry, (covered * distance)[seen], accumulate=True)
    return Coverage(share.clamp(max=1.0).float(), (near / share.clamp(min=1e-12)).float())


def clip_near(
    corners: Float[Tensor, "triangles 3 3"], near_m: float
) -> tuple[Float[Tensor, "pieces 3 3"], Int[Tensor, "pieces"]]:
    """Clip triangles at the near plane; returns the resulting triangles and the index of each one's original."""
    ahead = corners[..., 2] >= near_m
    index = torch.arange(len(corners), device=corners.device)
    whole = ahead.all(1)
    pieces, origin = [corners[whole]], [index[whole]]
    for first in range(3):  # the corner that is the only one on its side of the near plane
        alone = ahead[:, first] != ahead[:, first - 1]
        alone &= ahead[:, first - 1] == ahead[:, first - 2]
        apex, after, before = (corners[alone][:, (first + step) % 3] for step in range(3))
        one, other = (
            apex + (near_m - apex[:, 2:]) / (end[:, 2:] - apex[:, 2:]) * (end - apex)
            for end in (after, before)
        )
        front = ahead[alone, first]
        pieces += [
            torch.stack([apex, one, other], dim=1)[front],
            torch.stack([one, after, before], dim=1)[~front],
            torch.stack([one, before, other], dim=1)[~front],
        ]
        origin += [index[alone][front], *[index[alone][~front]] * 2]
    return torch.cat(pieces), torch.cat(origin)


def pixel_shares(
    corners: Float[Tensor, "triangles 3 2"], height: int, width: int
) -> tuple[Int[Tensor, "pairs"], Int[Tensor, "pairs"], Int[Tensor, "pairs"], Float[Tensor, "pairs"]]:
    """Triangle, row, column and covered share of every pair of a triangle and a pixel that it covers.

    corners: pixels (x, y). Pairs with a share of at most MIN_COVERAGE are left out.
    """
    size = torch.tensor([width, height], device=corners.device)
    low = corners.amin(1).floor().clamp(min=0).minimum(size.double()).long()
    high = corners.amax(1).ceil().clamp(min=0).minimum(size.double()).long()
    columns, rows = (high - low).clamp(min=0).unbind(1)
    count = rows * columns
    triangle = torch.repeat_interleave(torch.arange(len(corners), device=corners.device), count)
    within = torch.arange(len(triangle), device=corners.device) - (count.cumsum(0) - count)[triangle]
    row = low[triangle, 1] + within // columns[triangle]
    column = low[triangle, 0] + within % columns[triangle]
    area = torch.zeros(len(triangle), dtype=torch.float64, device=corners.device)
    for begin, end in ((0, 1), (1, 2), (2, 0)):
        area += _left_of_edge(corners[triangle, begin], corners[triangle, end], row, column)
    share = area.abs()
    kept = share > MIN_COVERAGE
    return triangle[kept], row[kept], column[kept], share[kept].clamp(max=1.0)


def _left_of_edge(
    begin: Float[Tensor, "pairs 2"],
    end: Float[Tensor, "pairs 2"],
    row: Int[Tensor, "pairs"],
    column: Int[Tensor, "pairs"],
) -> Float[Tensor, "pairs"]:
    """Area of a pixel to the left of an edge and within its rows; negative if the edge runs upwards.

    The sum over the edges of a polygon is the polygon's area within the pixel, with the sign of its winding.
    """
    (begin_x, begin_y), (end_x, end_y) = begin.unbind(1), end.unbind(1)
    rise = end_y - begin_y
    slope = (end_x - begin_x) / torch.where(rise == 0, 1.0, rise)
    first, last = (y.clamp(min=0.0).minimum(torch.ones_like(y)) for y in (begin_y - row, end_y - row))
    at_first, at_last = (begin_x + slope * (y + row - begin_y) - column for y in (first, last))
    return (last - first) * _mean_within(at_first, at_last)


def _mean_within(first: Float[Tensor, "pairs"], last: Float[Tensor, "pairs"]) -> Float[Tensor, "pairs"]:
    """Mean of clamp(x, 0, 1) for x uniform between `first` and `last`."""

    def integral(x: Tensor) -> Tensor:
        return torch.where(x > 1, x - 0.5, 0.5 * x.clamp(min=0.0) ** 2)

    span = last - first
    level = span.abs() < 1e-6
    mean = (integral(last) - integral(first)) / torch.where(level, 1.0, span)
    return torch.where(level, (0.5 * (first + last)).clamp(0.0, 1.0), mean)
