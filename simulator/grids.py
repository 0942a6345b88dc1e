"""`Grids`: baked look-ups of one town, so that a query costs the same in a village and in a city.

The fine grid holds the signed distance to the edge of the drivable area. The coarse grid holds, per cell, the few
lane points, road edges and stop lines worth looking at from inside that cell. `simulator.bake` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GRIDS_VERSION = 1
FINE_CELL_M = 0.5
COARSE_CELL_M = 5.0
LANE_CANDIDATES, LANE_RADIUS_M = 16, 50.0
EDGE_CANDIDATES, EDGE_RADIUS_M = 16, 40.0
STOP_CANDIDATES, STOP_RADIUS_M = 8, 60.0
DISTANCE_LIMIT_M = 8.0  # signed distances are clipped to +-this


@dataclass(frozen=True)
class Grids:
    """Baked queries of one town. Rows run along y, columns along x; cell (0, 0) touches `origin`."""

    origin: np.ndarray  # [2] f64, m, lower left corner of both grids
    drivable_distance_m: np.ndarray  # [rows, cols] f32, fine grid, at cell centres, + inside, - outside
    edge_segments: np.ndarray  # [segments, 4] f32, m, x0 y0 x1 y1
    edge_z: np.ndarray  # [segments] f32, m, height of the segment's middle
    lane_point_candidates: (
        np.ndarray
    )  # [coarse_rows, coarse_cols, 16] i32, lane points, nearest first, -1 pad
    edge_candidates: np.ndarray  # [coarse_rows, coarse_cols, 16] i32, edge segments, nearest first, -1 pad
    stop_candidates: np.ndarray  # [coarse_rows, coarse_cols, 8] i32, stop lines, nearest first, -1 pad
