"""Every backend agrees with the reference in every town."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from renderer import CameraRig, ClassId, Frame, Scene, render
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.roads.sources.opendrive import known_towns
from student.bridge.ground import ground_mesh
from tests.same_picture import assert_same

VIEWERS, BOXES, NEARBY_M = 3, 24, 70.0
SLOW = {"Town11", "Town12", "Town13"}
"""Towns that take minutes to import."""
TOWNS = [*sorted(set(known_towns()) - SLOW), "Made-0"]
INTERPRETED = {"Town02", "Made-0"}
"""Towns for Triton where it is interpreted, at seconds per image."""
RIG = CameraRig.nuplan().select(["front", "back"])


@pytest.fixture(scope="module")
def busy_place(one_world):
    """A builder of scenes: boxes on the lanes around a point of a town, and viewers on some of these lanes."""

    def build(road_map: RoadMap, rng: np.random.Generator) -> Scene:
        middle = (road_map.point_left_xyz + road_map.point_right_xyz) / 2
        across = road_map.point_left_xyz - road_map.point_right_xyz
        yaw = np.arctan2(-across[:, 0], across[:, 1])
        here = middle[rng.integers(len(middle))]
        near = np.flatnonzero(np.linalg.norm(middle - here, axis=1) < NEARBY_M)
        box, eye = np.split(rng.choice(near, BOXES + VIEWERS), [BOXES])
        size = rng.uniform([0.6, 0.6, 1.0], [9.0, 2.5, 3.2], (BOXES, 3))
        turned = yaw[box] + rng.normal(0, 0.2, BOXES)
        boxes = [
            (*middle[index], angle, *lwh, int(rng.integers(0, 5)))
            for index, angle, lwh in zip(box, turned, size)
        ]
        lights = [(*middle[box[k]] + [0, 0, 4.5], yaw[box[k]], state) for k, state in enumerate((1, 2, 3, 1))]
        poses = [(*middle[index], yaw[index]) for index in eye]
        return one_world(boxes, lights, [ground_mesh(road_map)], poses)

    return build


@pytest.fixture(scope="module")
def defined(busy_place):
    """A scene in a town, and its frame by the reference."""

    @functools.cache
    def draw(town: str) -> tuple[Scene, Frame]:
        scene = busy_place(load_maps([town])[0], np.random.default_rng(sum(town.encode())))
        return scene, render(scene, RIG, backend="reference")

    return draw


@pytest.mark.parametrize(
    "fast, town",
    [
        (backend, town)
        for backend in ("numba", "triton", "meshes")
        for town in TOWNS
        if backend != "triton" or town in INTERPRETED or torch.cuda.is_available()
    ],
    indirect=["fast"],
)
def test_a_town_looks_the_same(fast, defined, town):
    scene, reference = defined(town)
    assert_same(reference, fast(scene, RIG))
    assert ClassId.DRIVABLE in reference.class_id
    assert reference.instance_id.max() >= 0
