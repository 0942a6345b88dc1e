"""A road without paint, edges, lights and crosswalks is drawn where it is, up to where it ends."""

from __future__ import annotations

import pytest

from renderer import ClassId
from student.bridge.ground import ground_mesh
from tests.bare_maps import BARE_MAPS, ROAD_M, bare_map

SIZE_PX = FOCAL_PX = 100.0
MIDDLE = 50


def at(ahead_m: float, left_m: float) -> tuple[int, int]:
    """Row and column of a point of the ground, seen by a camera 1 m above it with a focal length of FOCAL_PX."""
    return int(MIDDLE + FOCAL_PX / ahead_m), int(MIDDLE - FOCAL_PX * left_m / ahead_m)


@pytest.mark.parametrize("name", BARE_MAPS)
def test_asphalt_is_where_the_road_is(drawn, one_camera, one_world, name: str) -> None:
    """Seen from 10 m before the end of the road eastwards, which is 3.5 m wide at least."""
    scene = one_world(meshes=[ground_mesh(bare_map(name))], poses=[(ROAD_M - 10.0, 0.0, 0.0, 0.0)])
    frame = drawn(scene, one_camera(int(SIZE_PX), int(SIZE_PX), FOCAL_PX))
    seen = frame.class_id[0, 0]
    for ahead_m, left_m in ((4.0, 0.0), (4.0, 1.5), (4.0, -1.5), (8.5, 0.0)):
        assert seen[at(ahead_m, left_m)] == ClassId.DRIVABLE
    for ahead_m, left_m in ((4.2, -1.95), (12.0, 0.0), (12.0, 1.0)):
        assert seen[at(ahead_m, left_m)] not in (ClassId.DRIVABLE, ClassId.SKY)
    assert set(seen.unique().tolist()) == {ClassId.SKY, ClassId.GROUND, ClassId.DRIVABLE}
