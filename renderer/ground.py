"""The painted ground of a map, and several maps packed for drawing in one batch.

A map never changes while it is driven on, so everything that helps to skip what a camera cannot see is prepared once:
quads are sorted into square cells, and cells and quads carry a bounding sphere.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from renderer.palette import GROUND_CLASSES

CELL_M = 16.0  # side of a culling cell
FLAT_TOLERANCE_M = 5e-4  # a quad whose corners are this close to one plane is drawn in one piece


@dataclass(frozen=True)
class GroundMesh:
    """Surfaces of one map. A quad is drawn as its triangles 0-1-2 and 0-2-3, and seen from both sides.

    Attributes:
        quads: [quads, 4, 3] f32, corners in order around the quad, world metres; a triangle repeats its last corner.
        class_id: [quads] i64, `ClassId.DRIVABLE` ... `ClassId.STOP_LINE`.
    """

    quads: Tensor  # [quads, 4, 3]
    class_id: Tensor  # [quads]

    @classmethod
    def empty(cls) -> "GroundMesh":
        """A map with nothing on its ground."""
        return cls(torch.zeros(0, 4, 3), torch.zeros(0, dtype=torch.int64))

    @classmethod
    def concatenate(cls, meshes: Sequence["GroundMesh"]) -> "GroundMesh":
        """One mesh with the quads of all."""
        if not meshes:
            return cls.empty()
        return cls(torch.cat([mesh.quads for mesh in meshes]), torch.cat([mesh.class_id for mesh in meshes]))

    @property
    def num_quads(self) -> int:
        return len(self.quads)

    def validate(self) -> None:
        """Raise ValueError with one sentence if the mesh cannot be drawn."""
        if self.quads.dtype != torch.float32 or self.quads.ndim != 3 or tuple(self.quads.shape[1:]) != (4, 3):
            raise ValueError(
                f"GroundMesh.quads is {self.quads.dtype} of shape {tuple(self.quads.shape)}; "
                "it must be torch.float32 of shape (quads, 4, 3)"
            )
        if self.class_id.dtype != torch.int64 or tuple(self.class_id.shape) != (len(self.quads),):
            raise ValueError(
                f"GroundMesh.class_id is {self.class_id.dtype} of shape {tuple(self.class_id.shape)}; "
                f"it must be torch.int64 of shape ({len(self.quads)},)"
            )
        broken = ~torch.isfinite(self.quads).flatten(1).all(1)
        if broken.any():
            raise ValueError(f"GroundMesh.quads[{int(broken.nonzero()[0])}] has a corner that is not finite")
        unknown = (self.class_id < GROUND_CLASSES[0]) | (self.class_id > GROUND_CLASSES[-1])
        if unknown.any():
            index = int(unknown.nonzero()[0])
            raise ValueError(
                f"GroundMesh.class_id[{index}]={int(self.class_id[index])} is no ground class; "
                f"{GROUND_CLASSES[0]} (drivable) to {GROUND_CLASSES[-1]} (stop line) are"
            )


class GroundLibrary:
    """Several maps in one batch, on one device. Built once, then only read.

    Attributes:
        quads: [quads, 4, 3] f32 world metres, sorted by map, then by cell.
        class_id: [quads] i64.
        sphere: [quads, 4] f32, centre and radius around each quad.
        flat: [quads] bool, convex and in one plane: may be drawn as one polygon.
        cell_start: [cells + 1] i64 into quads. cell_sphere: [cells, 4] f32. Only cells that hold something exist.
        map_cell_start: [maps + 1] i64 into cells. map_quad_start: [maps + 1] i64 into quads.
    """

    quads: Tensor
    class_id: Tensor
    sphere: Tensor
    flat: Tensor
    cell_start: Tensor
    cell_sphere: Tensor
    map_cell_start: Tensor
    map_quad_start: Tensor

    FIELDS = (
        "quads",
        "class_id",
        "sphere",
        "flat",
        "cell_start",
        "cell_sphere",
        "map_cell_start",
        "map_quad_start",
    )

    def __init__(self, meshes: Sequence[GroundMesh]) -> None:
        if not meshes:
            raise ValueError(
                "GroundLibrary holds no map; give at least one GroundMesh (GroundMesh.empty() is one)"
            )
        orders: list[Tensor] = []
        cell_counts: list[int] = []
        quads_per_cell: list[Tensor] = []
        for index, mesh in enumerate(meshes):
            try:
                mesh.validate()
            except ValueError as error:
                raise ValueError(f"map {index} of the GroundLibrary: {error}") from error
            order, counts = _sort_into_cells(mesh.quads)
            orders.append(order + sum(len(earlier) for earlier in orders))
            cell_counts.append(len(counts))
            quads_per_cell.append(counts)
        order = torch.cat(orders)
        self.quads = torch.cat([mesh.quads for mesh in meshes])[order].contiguous()
        self.class_id = torch.cat([mesh.class_id for mesh in meshes])[order].contiguous()
        self.sphere = _spheres(self.quads)
        self.flat = _flat(self.quads)
        self.cell_start = _starts(torch.cat(quads_per_cell))
        self.cell_sphere = _enclosing_spheres(self.sphere, self.cell_start)
        self.map_cell_start = _starts(torch.tensor(cell_counts))
        self.map_quad_start = _starts(torch.tensor([mesh.num_quads for mesh in meshes]))

    @property
    def num_maps(self) -> int:
        return len(self.map_cell_start) - 1

    @property
    def device(self) -> torch.device:
        return self.quads.device

    def to(self, device: torch.device | str) -> "GroundLibrary":
        """The same maps on another device; upload once, not per step."""
        moved = copy(self)
        for field in self.FIELDS:
            setattr(moved, field, getattr(self, field).to(device))
        return moved


def _starts(counts: Int[Tensor, "n"]) -> Int[Tensor, "starts"]:
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])


def _sort_into_cells(quads: Float[Tensor, "quads 4 3"]) -> tuple[Int[Tensor, "quads"], Int[Tensor, "cells"]]:
    """Order that puts quads of one cell beside each other, and how many each non-empty cell holds."""
    column, row = (quads[:, :, :2].mean(1) / CELL_M).floor().long().unbind(1)
    if len(quads) == 0:
        return column, column
    cell = (row - row.min()) * (int(column.max() - column.min()) + 1) + column - column.min()
    order = torch.argsort(cell, stable=True)
    counts = torch.unique_consecutive(cell[order], return_counts=True)[1]
    return order, counts


def _spheres(polygons: Float[Tensor, "polygons corners 3"]) -> Float[Tensor, "polygons 4"]:
    """Centre and radius around each; rounding must never make a sphere too small."""
    centre = (polygons.amin(1) + polygons.amax(1)) / 2
    radius = (polygons - centre[:, None]).norm(dim=2).amax(1, keepdim=True)
    return torch.cat([centre, radius * 1.0001 + 1e-3], dim=1)


def _enclosing_spheres(
    spheres: Float[Tensor, "quads 4"], start: Int[Tensor, "starts"]
) -> Float[Tensor, "cells 4"]:
    """Around the spheres of each stretch start[i] : start[i + 1], none of them empty."""
    if len(start) == 1:
        return torch.zeros(0, 4)
    first, centre = start[:-1].numpy(), spheres[:, :3].numpy()
    middle = (np.minimum.reduceat(centre, first) + np.maximum.reduceat(centre, first)) / 2
    reach = (
        np.linalg.norm(centre - np.repeat(middle, np.diff(start.numpy()), axis=0), axis=1)
        + spheres[:, 3].numpy()
    )
    radius = np.maximum.reduceat(reach, first)[:, None] * 1.0001 + 1e-3
    return torch.from_numpy(np.concatenate([middle, radius], axis=1).astype(np.float32))


def _flat(quads: Float[Tensor, "quads 4 3"]) -> Bool[Tensor, "quads"]:
    """Whether a quad lies in one plane and turns the same way at each corner."""
    corners = quads.double().numpy()
    corners = corners - corners[:, :1]
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = normal / np.maximum(length, 1e-12)
    height = np.einsum("qi,qki->qk", normal, corners)
    along = np.roll(corners, -1, axis=1) - corners
    turn = np.einsum("qi,qki->qk", normal, np.cross(along, np.roll(along, -1, axis=1)))
    flat = (np.ptp(height, axis=1) < FLAT_TOLERANCE_M) & (turn >= 0).all(1) & (length[:, 0] > 1e-9)
    return torch.from_numpy(flat)
