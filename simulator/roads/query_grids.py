"""`Grids`: precomputed look-up tables of one map, which make the cost of a query independent of the map's size.

The map is divided into square cells. A cell near a road has a row in the tables below: the lane samples, road edges and
stop lines nearest to it, and a tile of signed distances to the edge of the drivable area. All cells far from every road
share row 0. `simulator.roads.bake_grids` computes them.

Where a bridge crosses a road (2.5-D), a cell has two tiles and the height that separates them; an agent reads the tile
of the level that it is on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GRIDS_VERSION = 4
CELL_M = 5.0
NODE_SPACING_M = 0.5
TILE_NODES = 11
"""Nodes along each side of a tile. Tiles include their border, so that a cell never reads a neighbour's tile."""
LANE_SAMPLE_SPACING_M = 6.0
LANE_CANDIDATES, LANE_RADIUS_M = 100, 120.0
EDGE_CANDIDATES, EDGE_RADIUS_M = 100, 80.0
STOP_CANDIDATES, STOP_RADIUS_M = 8, 60.0
DISTANCE_LIMIT_M = 8.0  # signed distances are clipped to +-this


@dataclass(frozen=True)
class Grids:
    """Look-up tables of one map. Rows run along y, columns along x; cell (0, 0) has its lower left corner at
    `origin`."""

    origin: np.ndarray  # [2] f64, m, lower left corner of cell (0, 0)
    cell_row: np.ndarray  # [rows, cols] i32, row of the tables; 0 far from every road
    level_split_m: np.ndarray  # [near cells] f32, height between two levels; +inf where there is one
    tile: np.ndarray  # [near cells, 2] i32, tile of the lower (or only) and of the upper level
    drivable_distance_m: np.ndarray  # [tiles, 11, 11] f32 (y, x), at nodes 0.5 m apart, + inside, - outside
    lane_samples: np.ndarray  # [samples] i32, lane points about 6 m apart
    edge_segments: np.ndarray  # [segments, 4] f32, m, x0 y0 x1 y1, the road on the left
    edge_z: np.ndarray  # [segments] f32, m, height of the segment's middle
    lane_candidates: np.ndarray  # [near cells, 100] i32, lane samples, nearest first, -1 pad
    edge_candidates: np.ndarray  # [near cells, 100] i32, edge segments, nearest first, -1 pad
    stop_candidates: np.ndarray  # [near cells, 8] i32, stop lines, nearest first, -1 pad
