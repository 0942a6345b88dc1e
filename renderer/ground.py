"""The ground of a map (road and paint), and several maps packed for rendering in one batch.

A map is static, so its culling structure is built once: quads are sorted into the square cells of a grid, and cells
and quads have bounding spheres. A view tests only cells within the draw distance, so its cost does not depend on the
size of the map.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from renderer.palette import GROUND_CLASSES, ClassId

CULL_CELL_M = 24.0  # side of a grid cell
FLAT_TOLERANCE_M = 5e-4  # a quad whose corners deviate less from a plane is drawn as one polygon


@dataclass(frozen=True)
class GroundMesh:
    """Ground surfaces of one map. A quad is two-sided and drawn as its triangles 0-1-2 and 0-2-3.

    Attributes:
        quads: [quads, 4, 3] f32, corners in order around the quad, world metres; a triangle repeats its last corner.
        class_id: [quads] i64, `ClassId.DRIVABLE` ... `ClassId.STOP_LINE`.
    """

    quads: Tensor  # [quads, 4, 3]
    class_id: Tensor  # [quads]

    @classmethod
    def empty(cls) -> "GroundMesh":
        """A mesh without quads."""
        return cls(torch.zeros(0, 4, 3), torch.zeros(0, dtype=torch.int64))

    @classmethod
    def concatenate(cls, meshes: Sequence["GroundMesh"]) -> "GroundMesh":
        """One mesh with the quads of all meshes, in order."""
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
    """Several maps in one batch, on one device; immutable.

    The grid of a map has square cells of CULL_CELL_M, row by row from the least x and y. Only cells that hold quads are
    numbered.

    Attributes:
        quads: [quads, 4, 3] f32 world metres, sorted by map, then by cell, then by class.
        class_id: [quads] i64.
        sphere: [quads, 4] f32, centre and radius around each quad.
        flat: [quads] bool, convex and planar: can be drawn as one polygon.
        cell_start: [cells, classes + 1] i64, first quad of each ground class in a cell, and the end of the last class.
        cell_sphere: [cells, 4] f32, centre and radius around all quads of a cell.
        grid_cell: [grid squares] i64, number of the cell; -1 where it is empty.
        map_grid: [maps, 3] i64, first grid square, columns, rows.
        map_origin: [maps, 3] f32 m, least x and y of the grid, and how far quads extend beyond their cell's square.
        map_quad_start: [maps + 1] i64 into quads.
        max_quads_per_cell: largest number of quads of one class in one cell.
    """

    quads: Tensor
    class_id: Tensor
    sphere: Tensor
    flat: Tensor
    cell_start: Tensor
    cell_sphere: Tensor
    grid_cell: Tensor
    map_grid: Tensor
    map_origin: Tensor
    map_quad_start: Tensor
    max_quads_per_cell: int

    FIELDS = (
        "quads",
        "class_id",
        "sphere",
        "flat",
        "cell_start",
        "cell_sphere",
        "grid_cell",
        "map_grid",
        "map_origin",
        "map_quad_start",
    )

    def __init__(self, meshes: Sequence[GroundMesh]) -> None:
        if not meshes:
            raise ValueError(
                "GroundLibrary holds no map; give at least one GroundMesh (GroundMesh.empty() is one)"
            )
        parts = []
        for index, mesh in enumerate(meshes):
            try:
                mesh.validate()
            except ValueError as error:
                raise ValueError(f"map {index} of the GroundLibrary: {error}") from error
            parts.append(_sorted_into_cells(mesh))
        quads_before = _starts(torch.tensor([mesh.num_quads for mesh in meshes]))
        cells_before = _starts(torch.tensor([len(part.cell_start) for part in parts]))
        squares_before = _starts(torch.tensor([len(part.grid_cell) for part in parts]))
        self.quads = torch.cat([part.quads for part in parts]).contiguous()
        self.class_id = torch.cat([part.class_id for part in parts]).contiguous()
        self.sphere = _spheres(self.quads)
        self.flat = _flat(self.quads)
        self.cell_start = torch.cat([part.cell_start + first for part, first in zip(parts, quads_before)])
        self.cell_sphere = _enclosing_spheres(self.sphere, self.cell_start)
        self.grid_cell = torch.cat(
            [
                torch.where(part.grid_cell >= 0, part.grid_cell + first, -1)
                for part, first in zip(parts, cells_before)
            ]
        )
        sizes = torch.tensor([[part.columns, part.rows] for part in parts])
        self.map_grid = torch.cat([squares_before[:-1, None], sizes], dim=1)
        reach = [
            2 * float(self.sphere[begin:end, 3].max()) if end > begin else 0.0
            for begin, end in zip(quads_before.tolist(), quads_before[1:].tolist())
        ]
        self.map_origin = torch.tensor([[*part.origin, out] for part, out in zip(parts, reach)])
        self.map_quad_start = quads_before
        self.max_quads_per_cell = int(self.cell_start.diff(dim=1).max()) if len(self.cell_start) else 0

    @property
    def num_maps(self) -> int:
        return len(self.map_grid)

    @property
    def device(self) -> torch.device:
        return self.quads.device

    def to(self, device: torch.device | str) -> "GroundLibrary":
        """A copy on another device; upload once, not per step."""
        moved = copy(self)
        for field in self.FIELDS:
            setattr(moved, field, getattr(self, field).to(device))
        return moved


def _starts(counts: Int[Tensor, "n"]) -> Int[Tensor, "starts"]:
    """Exclusive prefix sums of `counts`, and their total: [n + 1]."""
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])


@dataclass(frozen=True)
class _Cells:
    """One map's quads sorted by cell, and its grid; see `GroundLibrary`."""

    quads: Tensor
    class_id: Tensor
    cell_start: Tensor  # [cells, classes + 1]
    grid_cell: Tensor  # [rows x columns]
    columns: int
    rows: int
    origin: tuple[float, float]  # m


def _sorted_into_cells(mesh: GroundMesh) -> _Cells:
    """Sort quads by cell, then by class; a quad belongs to the cell of its mean corner."""
    if mesh.num_quads == 0:
        starts = torch.zeros(0, len(GROUND_CLASSES) + 1, dtype=torch.int64)
        return _Cells(mesh.quads, mesh.class_id, starts, torch.zeros(0, dtype=torch.int64), 0, 0, (0.0, 0.0))
    square_xy = (mesh.quads[:, :, :2].mean(1) / CULL_CELL_M).floor().long()
    least = square_xy.amin(0)
    columns, rows = (square_xy.amax(0) - least + 1).tolist()
    column, row = (square_xy - least).unbind(1)
    square = row * columns + column
    order = torch.argsort(square * len(ClassId) + mesh.class_id, stable=True)
    occupied, cell = torch.unique(square, return_inverse=True)
    grid_cell = torch.full((rows * columns,), -1)
    grid_cell[occupied] = torch.arange(len(occupied))
    slot = cell * len(GROUND_CLASSES) + mesh.class_id - GROUND_CLASSES[0]
    end = torch.bincount(slot, minlength=len(occupied) * len(GROUND_CLASSES)).cumsum(0)
    end = end.reshape(len(occupied), len(GROUND_CLASSES))
    first = torch.cat([end.new_zeros(1), end[:-1, -1]])
    origin = (least * CULL_CELL_M).tolist()
    return _Cells(
        quads=mesh.quads[order],
        class_id=mesh.class_id[order],
        cell_start=torch.cat([first[:, None], end], dim=1),
        grid_cell=grid_cell,
        columns=columns,
        rows=rows,
        origin=(origin[0], origin[1]),
    )


def _spheres(polygons: Float[Tensor, "polygons corners 3"]) -> Float[Tensor, "polygons 4"]:
    """Bounding sphere (centre, radius; m) of each polygon, enlarged so that rounding cannot make it too small."""
    centre = (polygons.amin(1) + polygons.amax(1)) / 2
    radius = (polygons - centre[:, None]).norm(dim=2).amax(1, keepdim=True)
    return torch.cat([centre, radius * 1.0001 + 1e-3], dim=1)


def _enclosing_spheres(
    spheres: Float[Tensor, "quads 4"], start: Int[Tensor, "cells starts"]
) -> Float[Tensor, "cells 4"]:
    """Bounding sphere of the spheres of each cell; no cell may be empty."""
    if len(start) == 0:
        return torch.zeros(0, 4)
    first, centre = start[:, 0].numpy(), spheres[:, :3].numpy()
    middle = (np.minimum.reduceat(centre, first) + np.maximum.reduceat(centre, first)) / 2
    count = (start[:, -1] - start[:, 0]).numpy()
    reach = np.linalg.norm(centre - np.repeat(middle, count, axis=0), axis=1) + spheres[:, 3].numpy()
    radius = np.maximum.reduceat(reach, first)[:, None] * 1.0001 + 1e-3
    return torch.from_numpy(np.concatenate([middle, radius], axis=1).astype(np.float32))


def _flat(quads: Float[Tensor, "quads 4 3"]) -> Bool[Tensor, "quads"]:
    """Whether each quad is planar (to FLAT_TOLERANCE_M) and convex."""
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
