"""Builders of ground quads cover the right area with few quads; the library keeps every quad."""

import math

import numpy as np
import pytest
import torch

from renderer import (
    GROUND_CLASSES,
    ClassId,
    GroundLibrary,
    GroundMesh,
    dashed_quads,
    polygon_quads,
    ribbon_quads,
    strip_quads,
    zebra_quads,
)
from renderer.ground import CULL_CELL_M


def areas(mesh):
    """Area of every quad seen from above, [quads]; above 0 if wound to the left."""
    x, y = mesh.quads[..., 0].double(), mesh.quads[..., 1].double()
    return (x * y.roll(-1, 1) - x.roll(-1, 1) * y).sum(1) / 2


def test_straight_strip_is_a_few_long_quads():
    mesh = strip_quads([[x, 0.5 * x, 0.0] for x in np.arange(0, 60.1, 0.5)], 0.2, ClassId.MARKING_WHITE)
    assert mesh.num_quads <= 6
    assert float(areas(mesh).sum()) == pytest.approx(60 * math.hypot(1, 0.5) * 0.2, rel=1e-3)
    assert (mesh.class_id == ClassId.MARKING_WHITE).all()


def test_bend_keeps_its_shape_and_its_area():
    angle = np.linspace(0, np.pi / 2, 80)
    outer, inner = (np.stack([r * np.cos(angle), r * np.sin(angle), 0 * angle], axis=1) for r in (20.0, 16.0))
    mesh = ribbon_quads(inner, outer, ClassId.DRIVABLE)
    assert 8 < mesh.num_quads < 60
    assert float(areas(mesh).abs().sum()) == pytest.approx(np.pi / 4 * (20**2 - 16**2), rel=4e-3)
    radius = mesh.quads[..., :2].norm(dim=2)
    assert bool(((radius > 16 - 0.05) & (radius < 20.01)).all())


def test_merging_keeps_heights():
    x = np.arange(0.0, 40.0, 0.5)
    hill = np.stack([x, 0 * x, 0.3 * np.sin(x / 5)], axis=1)
    mesh = ribbon_quads(hill + np.array([0, 2, 0]), hill - np.array([0, 2, 0]), ClassId.DRIVABLE)
    edge_x, edge_z = mesh.quads[:, :2, 0].reshape(-1).numpy(), mesh.quads[:, :2, 2].reshape(-1).numpy()
    drawn = np.interp(x, edge_x, edge_z)
    assert mesh.num_quads < len(x) / 2
    assert np.abs(drawn - hill[:, 2]).max() < 0.021  # a twentieth of a metre over VERTICAL_STRICTNESS


def test_dashes_have_their_length_and_gap():
    mesh = dashed_quads([[0, 0, 0], [7, 0, 0], [20, 0, 0]], 0.1, 3.0, 5.0, ClassId.MARKING_WHITE)
    begin, end = mesh.quads[..., 0].amin(1), mesh.quads[..., 0].amax(1)
    covered = torch.zeros(200, dtype=torch.bool)
    x = torch.arange(200) / 10 + 0.05
    for low, high in zip(begin, end):
        covered |= (x > low) & (x < high)
    torch.testing.assert_close(covered, (x % 8) < 3)


def test_polygon_with_a_notch():
    corners = [[0, 0, 1], [6, 0, 1], [6, 2, 1], [3, 2, 1], [3, 5, 1], [0, 5, 1], [0, 0, 1]]
    for outline in (corners, corners[::-1]):
        mesh = polygon_quads(outline, ClassId.CROSSWALK)
        assert float(areas(mesh).sum()) == pytest.approx(6 * 2 + 3 * 3)
        assert bool((areas(mesh) > 0).all())
        inside = mesh.quads.mean(1)
        assert not bool(((inside[:, 0] > 3) & (inside[:, 1] > 2)).any())


def test_polygon_of_many_corners(rng):
    angle = np.sort(rng.uniform(0, 2 * np.pi, 40))
    radius = rng.uniform(3, 9, 40)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    mesh = polygon_quads(np.stack([x, y, 0 * x], axis=1), ClassId.DRIVABLE)
    expected = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2
    assert float(areas(mesh).sum()) == pytest.approx(expected, rel=1e-3)
    assert mesh.num_quads < 38  # triangles are joined


@pytest.mark.parametrize(
    "build, sentence",
    [
        (lambda: strip_quads([[0, 0, 0]], 0.1, 3), r"polyline has shape \(1, 3\); it must be \(n, 3\)"),
        (lambda: strip_quads([[0, 0], [1, 1]], 0.1, 3), r"polyline has shape \(2, 2\)"),
        (lambda: strip_quads([[0, 0, 0], [1, math.nan, 0]], 0.1, 3), r"polyline\[1\] is not finite"),
        (lambda: strip_quads([[0, 0, 0], [1, 0, 0]], -0.1, 3), "width_m=-0.1 must be a length above 0 m"),
        (lambda: strip_quads([[0, 0, 0], [1, 0, 0]], 0.1, 10), "class_id=10 is no ground class"),
        (lambda: ribbon_quads(np.zeros((3, 3)), np.zeros((2, 3)), 2), "left has 3 points and right 2"),
        (
            lambda: dashed_quads([[0, 0, 0], [1, 0, 0]], 0.1, 0.0, 1.0, 3),
            "dash_m=0.0 must be a length above 0 m",
        ),
        (lambda: polygon_quads([[0, 0, 0], [1, 0, 0], [0, 0, 0]], 6), "only 2 different corners"),
        (lambda: polygon_quads([[0, 0, 0], [4, 4, 0], [4, 0, 0], [0, 5, 0], [9, 9, 0]], 6), "crosses itself"),
        (lambda: GroundLibrary([]), "holds no map"),
        (
            lambda: GroundLibrary(
                [GroundMesh.empty(), GroundMesh(torch.zeros(2, 4, 3), torch.tensor([3, 1]))]
            ),
            r"map 1 of the GroundLibrary: GroundMesh.class_id\[1\]=1 is no ground class",
        ),
        (
            lambda: GroundLibrary([GroundMesh(torch.full((1, 4, 3), math.nan), torch.tensor([3]))]),
            r"quads\[0\] has a corner that is not finite",
        ),
        (
            lambda: GroundLibrary([GroundMesh(torch.zeros(2, 3, 3), torch.tensor([3, 3]))]),
            r"shape \(2, 3, 3\)",
        ),
    ],
)
def test_bad_input_is_rejected(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()


def test_repeated_points_are_harmless():
    mesh = strip_quads([[0, 0, 0], [0, 0, 0], [5, 0, 0], [5, 0, 0]], 0.2, ClassId.STOP_LINE)
    assert float(areas(mesh).abs().sum()) == pytest.approx(1.0)
    assert strip_quads([[1, 1, 0], [1, 1, 0]], 0.2, ClassId.STOP_LINE).num_quads == 0


def test_library_keeps_every_quad_in_its_map_and_cell(rng):
    meshes = []
    for count in (300, 0, 50):
        quads = torch.tensor(
            rng.normal(size=(count, 1, 3)) * 60 + rng.normal(size=(count, 4, 3)), dtype=torch.float32
        )
        meshes.append(GroundMesh(quads, torch.tensor(rng.integers(2, 8, count))))
    library = GroundLibrary(meshes)
    assert library.num_maps == 3
    for index, mesh in enumerate(meshes):
        begin, end = library.map_quad_start[index : index + 2].tolist()
        kept = torch.cat([library.quads[begin:end].flatten(1), library.class_id[begin:end, None]], dim=1)
        given = torch.cat([mesh.quads.flatten(1), mesh.class_id[:, None]], dim=1)
        assert sorted(kept.tolist()) == sorted(given.tolist())
        first, columns, rows = library.map_grid[index].tolist()
        in_map = library.grid_cell[first : first + columns * rows]
        found = []
        for square, cell in enumerate(in_map.tolist()):
            if cell >= 0:
                found += held_by(library, index, cell, (square % columns, square // columns))
        assert sorted(found) == list(range(begin, end))
    assert bool(((library.quads - library.sphere[:, None, :3]).norm(dim=2) <= library.sphere[:, 3:]).all())


def held_by(library, town, cell, square):
    """Quads of a cell, each of its class, inside the cell's sphere and not too far out of its square."""
    starts = library.cell_start[cell].tolist()
    sphere, (x, y, out) = library.cell_sphere[cell], library.map_origin[town].tolist()
    quads = library.quads[starts[0] : starts[-1]]
    assert bool(((quads - sphere[:3]).norm(dim=2) <= sphere[3]).all())
    low = torch.tensor([x, y]) + torch.tensor(square) * CULL_CELL_M
    assert bool((quads[..., :2] >= low - out).all() and (quads[..., :2] <= low + CULL_CELL_M + out).all())
    for paint, begin, end in zip(GROUND_CLASSES, starts, starts[1:]):
        assert bool((library.class_id[begin:end] == paint).all())
    return list(range(starts[0], starts[-1]))


def test_zebra_has_bars_across_the_longer_way():
    """Eight metres to walk, three wide, turned by 30 degrees on a slope: bars of 0.5 m every metre."""
    turn = np.array([[np.cos(0.5236), -np.sin(0.5236)], [np.sin(0.5236), np.cos(0.5236)]])
    flat = np.array([[0, 0], [8, 0], [8, 3], [0, 3]]) @ turn.T
    corners = np.column_stack([flat, 0.1 * flat[:, 0] + 2])
    mesh = zebra_quads(corners, 0.5, 0.5, ClassId.CROSSWALK)
    assert mesh.num_quads == 8
    assert float(areas(mesh).abs().sum()) == pytest.approx(8 * 0.5 * 3, rel=1e-5)
    along = (mesh.quads[..., :2].double().numpy() @ turn)[..., 0]
    np.testing.assert_allclose(np.sort(np.ptp(along, axis=1)), 0.5, atol=1e-5)
    np.testing.assert_allclose(mesh.quads[..., 2], 0.1 * mesh.quads[..., 0] + 2, atol=1e-5)
    bow = [[0, 0, 0], [4, 4, 0], [4, 0, 0], [0, 4, 0]]
    with pytest.raises(ValueError, match="crosses itself"):
        zebra_quads(bow, 0.5, 0.5, ClassId.CROSSWALK)
