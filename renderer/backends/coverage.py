"""Thin things, drawn by the area that they cover of each pixel: lane paint and traffic lights.

A painted line is 12 cm wide; sixty metres ahead that is a sixth of a pixel, and a test at pixel centres would draw a
row of dots. So every pixel holds, for each layer of `palette.LAYER_MATERIALS`, the share of its square that triangles
of this layer cover: exact areas in the picture, added up (pieces of a line share edges and do not overlap), at most
1. A triangle counts in a pixel if its plane, followed to the pixel's centre, is in front of the surface there. Our
own choice; the areas are integrals along edges, as rasterisers of fonts compute them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from renderer.palette import MATERIAL_LAYER, NUM_LAYERS, TOP_PRECEDENCE

LEAST_SHARE = 1e-4  # of a pixel, below which a triangle leaves no trace


@dataclass(frozen=True)
class Coverage:
    """What thin things cover of pictures.

    Attributes:
        share: [layers, *views, height, width] f32 in [0, 1], of the pixel's area.
        near: the same shape, f32: mean distance along the ray, in draw distances; 0 where nothing is covered.
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
    """Shares of every pixel that thin triangles cover.

    Args:
        view: which picture a triangle is in.
        corners: in that picture's camera frame, metres; what is nearer than `near_m` is cut off.
        matrix: intrinsics of that camera, pixels.
        surface: precedence / depth of the surface at each pixel's centre, 0 for none.
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
    away = ray.norm(dim=-1) / (inverse * draw_distance_m)
    seen = (inverse > 0) & (away <= 1) & (inverse * TOP_PRECEDENCE >= surface[view[triangle], row, column])
    layer = torch.as_tensor(MATERIAL_LAYER, device=material.device)[material[triangle]]
    place = tuple(index[seen] for index in (layer, view[triangle], row, column))
    share.index_put_(place, covered[seen], accumulate=True)
    near.index_put_(place, (covered * away)[seen], accumulate=True)
    return Coverage(share.clamp(max=1.0).float(), (near / share.clamp(min=1e-12)).float())


def clip_near(
    corners: Float[Tensor, "triangles 3 3"], near_m: float
) -> tuple[Float[Tensor, "pieces 3 3"], Int[Tensor, "pieces"]]:
    """What of triangles lies in front of the near plane, as triangles, and which one each piece comes from."""
    ahead = corners[..., 2] >= near_m
    index = torch.arange(len(corners), device=corners.device)
    whole = ahead.all(1)
    pieces, origin = [corners[whole]], [index[whole]]
    for first in range(3):  # the corner that is alone on its side
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
    """Triangle, row, column and covered area of every pixel that a triangle covers; corners in pixels (x, y)."""
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
        area += _beside_edge(corners[triangle, begin], corners[triangle, end], row, column)
    share = area.abs()
    kept = share > LEAST_SHARE
    return triangle[kept], row[kept], column[kept], share[kept].clamp(max=1.0)


def _beside_edge(
    begin: Float[Tensor, "pairs 2"],
    end: Float[Tensor, "pairs 2"],
    row: Int[Tensor, "pairs"],
    column: Int[Tensor, "pairs"],
) -> Float[Tensor, "pairs"]:
    """Area of a pixel to the left of an edge and at its height; below 0 if the edge runs upwards.

    The sum over the edges of a polygon is the polygon's area within the pixel: what lies left of one side and not of
    the other.
    """
    (begin_x, begin_y), (end_x, end_y) = begin.unbind(1), end.unbind(1)
    rise = end_y - begin_y
    slope = (end_x - begin_x) / torch.where(rise == 0, 1.0, rise)
    first, last = (y.clamp(min=0.0).minimum(torch.ones_like(y)) for y in (begin_y - row, end_y - row))
    at_first, at_last = (begin_x + slope * (y + row - begin_y) - column for y in (first, last))
    return (last - first) * _mean_within(at_first, at_last)


def _mean_within(first: Float[Tensor, "pairs"], last: Float[Tensor, "pairs"]) -> Float[Tensor, "pairs"]:
    """Mean of clamp(x, 0, 1) for x between two numbers."""

    def integral(x: Tensor) -> Tensor:
        return torch.where(x > 1, x - 0.5, 0.5 * x.clamp(min=0.0) ** 2)

    span = last - first
    level = span.abs() < 1e-6
    mean = (integral(last) - integral(first)) / torch.where(level, 1.0, span)
    return torch.where(level, (0.5 * (first + last)).clamp(0.0, 1.0), mean)
