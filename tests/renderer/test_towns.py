"""Every backend draws every town as the reference does."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch

from renderer import CameraRig, ClassId, Frame, GroundLibrary, Scene, compare_frames, render
from simulator.maps import load_maps
from simulator.opendrive import known_towns
from simulator.road_map import RoadMap
from student.bridge import ground_mesh

VIEWERS, BOXES, NEARBY_M = 3, 24, 70.0
SLOW = {"Town11", "Town12", "Town13"}
"""Towns that take minutes to import."""
RIG = CameraRig.nuplan().select(["front", "back"])


def busy_place(road_map: RoadMap, rng: np.random.Generator) -> Scene:
    """Boxes on the lanes around a point of the town, seen from some of these lanes."""
    middle = (road_map.point_left_xyz + road_map.point_right_xyz) / 2
    across = road_map.point_left_xyz - road_map.point_right_xyz
    yaw = np.arctan2(-across[:, 0], across[:, 1])
    here = middle[rng.integers(len(middle))]
    near = np.flatnonzero(np.linalg.norm(middle - here, axis=1) < NEARBY_M)
    some = rng.choice(near, VIEWERS + BOXES)
    box, eye = some[:BOXES], some[BOXES:]
    size = rng.uniform([0.6, 0.6, 1.0], [9.0, 2.5, 3.2], (BOXES, 3))
    poses = torch.eye(4).repeat(VIEWERS, 1, 1)
    for pose, index in zip(poses, eye):
        cos, sin = math.cos(yaw[index]), math.sin(yaw[index])
        pose[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
        pose[:3, 3] = torch.from_numpy(middle[index])
    return Scene(
        box_position=torch.tensor(middle[box], dtype=torch.float32)[None],
        box_size=torch.tensor(size, dtype=torch.float32)[None],
        box_yaw=torch.tensor(yaw[box] + rng.normal(0, 0.2, BOXES), dtype=torch.float32)[None],
        box_class=torch.from_numpy(rng.integers(0, 5, BOXES))[None],
        light_position=torch.tensor(middle[box[:4]] + [0, 0, 4.5], dtype=torch.float32)[None],
        light_yaw=torch.tensor(yaw[box[:4]], dtype=torch.float32)[None],
        light_state=torch.tensor([[1, 2, 3, 1]]),
        ground=GroundLibrary([ground_mesh(road_map)]),
        map_id=torch.zeros(1, dtype=torch.int64),
        viewer_world=torch.zeros(VIEWERS, dtype=torch.int64),
        viewer_box=torch.full((VIEWERS,), -1),
        world_from_rig=poses,
    )


@functools.cache
def defined(town: str) -> tuple[Scene, Frame]:
    """A place in a town, and how the reference draws it."""
    scene = busy_place(load_maps([town])[0], np.random.default_rng(sum(town.encode())))
    return scene, render(scene, RIG, backend="reference")


@pytest.mark.parametrize("town", [*sorted(set(known_towns()) - SLOW), "Made-0"])
def test_a_town_looks_the_same(fast, town):
    scene, reference = defined(town)
    parity = compare_frames(reference, fast(scene, RIG))
    assert parity.interior_differing == 0, parity
    assert parity.band_differing_share <= 0.01, parity
    assert abs(parity.bias) <= 0.25, parity
    assert ClassId.DRIVABLE in reference.class_id
    assert reference.instance_id.max() >= 0
