"""Top-down images: north up, east right, wedges at the front, lights in their colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.drawing.top_down import draw_map, draw_world
from simulator.drawing.viewport import PAPER, SLATE, Palette
from simulator.roads.road_map import RoadMap, StopKind
from simulator.roads.sources.map_cache import load_maps
from simulator.roads.sources.opendrive import import_town

VIEW = {"centre": (25.0, 0.0), "extent_m": 40, "size_px": 400}  # 10 pixels per metre


@pytest.fixture(scope="module")
def straight() -> RoadMap:
    """50 m of road along +x, 7 m wide."""
    return import_town(Path(__file__).parents[1] / "straight_road.xodr")


@pytest.fixture(scope="module")
def town() -> RoadMap:
    return load_maps(["Town10HD"])[0]


def _car(x: float, y: float, yaw: float, **more: list) -> dict[str, np.ndarray]:
    agent = {
        "position": np.array([[x, y, 0.0]]), "yaw": np.array([yaw]), "size": np.array([[4.6, 2.0, 1.6]]),
    }  # fmt: skip
    return agent | {name: np.array(value) for name, value in more.items()}


def _pixel(picture: np.ndarray, x: float, y: float) -> list[int]:
    """Colour at a world position in VIEW."""
    return picture[round((20.0 - y) * 10), round((x - 5.0) * 10)].tolist()


@pytest.mark.parametrize("palette", [SLATE, PAPER])
def test_road_and_ground_have_their_colours(straight: RoadMap, palette: Palette) -> None:
    picture = np.asarray(draw_map(straight, **VIEW, palette=palette, scale_bar=False))
    assert picture.shape == (400, 400, 3)
    assert _pixel(picture, 25.0, 1.5) == list(palette.road)
    assert _pixel(picture, 25.0, 8.0) == list(palette.ground)
    assert _pixel(picture, 25.0, -8.0) == list(palette.ground)
    assert _pixel(picture, 25.0, 3.5) == list(palette.kerb)


def test_north_is_up_and_east_is_right(straight: RoadMap) -> None:
    red = _car(32.0, 10.0, 0.0, colour=[[255, 0, 0]])
    picture = np.asarray(draw_world(straight, red, **VIEW)).astype(int)
    rows, cols = np.nonzero((picture == [255, 0, 0]).all(axis=-1))
    assert rows.mean() == pytest.approx(100, abs=4)  # 10 m north of the centre
    assert 255 < cols.mean() < 285  # 7 m east of it


@pytest.mark.parametrize("yaw", [0.0, np.pi / 2, np.pi, -2.0])
def test_the_wedge_is_at_the_front(straight: RoadMap, yaw: float) -> None:
    picture = np.asarray(draw_world(straight, _car(25.0, 10.0, yaw, colour=[[0, 0, 255]]), **VIEW))
    ahead = _pixel(picture, 25.0 + 1.0 * np.cos(yaw), 10.0 + 1.0 * np.sin(yaw))
    behind = _pixel(picture, 25.0 - 1.0 * np.cos(yaw), 10.0 - 1.0 * np.sin(yaw))
    assert min(ahead) > 150
    assert behind == [0, 0, 255]


def test_a_box_is_as_large_as_its_agent(straight: RoadMap) -> None:
    picture = np.asarray(draw_world(straight, _car(25.0, 10.0, 0.3, colour=[[0, 0, 255]]), **VIEW)).astype(
        int
    )
    blue = picture[..., 2] - picture[..., 0] > 100  # body; the pale wedge is a small part of it
    assert blue.sum() / 100 == pytest.approx(4.6 * 2.0, rel=0.15)


def test_absent_agents_and_other_views_are_not_drawn(straight: RoadMap) -> None:
    empty = np.asarray(draw_map(straight, **VIEW))
    absent = draw_world(straight, _car(25.0, 10.0, 0.0, present=[False]), **VIEW)
    elsewhere = draw_world(straight, _car(500.0, 10.0, 0.0), **VIEW)
    np.testing.assert_array_equal(np.asarray(absent), empty)
    np.testing.assert_array_equal(np.asarray(elsewhere), empty)


def test_crashed_agents_are_outlined_in_red(straight: RoadMap) -> None:
    red = list(SLATE.lights[3])
    for crashed in (False, True):
        picture = np.asarray(draw_world(straight, _car(25.0, 10.0, 0.0, crashed=[crashed]), **VIEW))
        assert (picture == red).all(axis=-1).any() == crashed


@pytest.mark.parametrize("state", [1, 2, 3])
def test_stop_lines_have_the_colour_of_their_light(town: RoadMap, state: int) -> None:
    index = int(np.flatnonzero(town.stop_line_kind == StopKind.TRAFFIC_LIGHT)[0])
    lights = np.zeros(len(town.stop_line_yaw), np.int32)
    lights[index] = state
    middle = town.stop_line_xyz[index].mean(axis=0)[:2]
    nobody = {"position": np.zeros((0, 3)), "yaw": np.zeros(0), "size": np.zeros((0, 3))}
    picture = draw_world(town, nobody, lights, centre=middle, extent_m=20, size_px=200)
    assert list(picture.getpixel((100, 100))) == list(SLATE.lights[state])


def test_routes_are_drawn_under_their_agent(straight: RoadMap) -> None:
    route = np.array([[[25.0, 10.0, 0.0], [35.0, 10.0, 0.0]]])
    picture = np.asarray(
        draw_world(straight, _car(25.0, 10.0, 0.0, colour=[[0, 0, 255]]), None, route, **VIEW)
    )
    assert _pixel(picture, 32.0, 10.0)[2] > 100
    assert _pixel(picture, 23.5, 10.0) == [0, 0, 255]


def test_same_world_same_bytes_and_background_is_only_a_shortcut(town: RoadMap) -> None:
    agents = _car(*town.point_xyz[50, :2].tolist(), 0.4, kind=[1])
    lights = np.ones(len(town.stop_line_yaw), np.int32)
    view = {"centre": town.point_xyz[50, :2], "extent_m": 60.0, "size_px": (320, 200)}
    first = draw_world(town, agents, lights, **view)
    second = draw_world(town, agents, lights, **view, background=draw_map(town, **view, stop_lines=False))
    assert first.size == (320, 200)
    assert first.tobytes() == draw_world(town, agents, lights, **view).tobytes() == second.tobytes()


def test_the_complete_map_fits(town: RoadMap) -> None:
    """Without a view everything is inside: the border of the image is ground or walkway, never road."""
    picture = np.asarray(draw_map(town, scale_bar=False, size_px=300))
    frame = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert not (frame == SLATE.road).all(axis=-1).any()
    assert (picture == SLATE.road).all(axis=-1).mean() > 0.1


def test_a_bridge_hides_the_paint_and_the_kerbs_below() -> None:
    """Along the middle of the upper road at a crossing of Town04 there is only road surface."""
    town = load_maps(["Town04"])[0]
    view = {"centre": (0.0, -20.0), "extent_m": 60.0, "size_px": 600, "scale_bar": False, "stop_lines": False}
    picture = np.asarray(draw_map(town, **view))
    for y in (
        -9.5,
        -13.0,
        -30.5,
    ):  # between two rows of dashes of the two carriageways, 11 m above the other road
        row = picture[round((10.0 - y) * 10)]
        assert (row == SLATE.road).all()


def test_refusals(straight: RoadMap) -> None:
    car = _car(25.0, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"agents lacks 'size'; expected"):
        draw_world(straight, {"position": car["position"], "yaw": car["yaw"]}, **VIEW)
    with pytest.raises(ValueError, match=r"agents\['position'\] has shape \(1, 2\); expected \(1, 3\)"):
        draw_world(straight, car | {"position": car["position"][:, :2]}, **VIEW)
    with pytest.raises(ValueError, match="light_state has shape"):
        draw_world(straight, car, np.zeros(3, np.int32), **VIEW)
    with pytest.raises(ValueError, match="background is"):
        draw_world(straight, car, **VIEW, background=draw_map(straight, size_px=64))
    with pytest.raises(ValueError, match="size_px=0"):
        draw_map(straight, size_px=0)
    with pytest.raises(ValueError, match="extent_m="):
        draw_map(straight, extent_m=-5.0)
