"""States past the open end of a map are removed; states beside the road remain off-road."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.conventions import CAR
from simulator.logs.cleaning.map_boundary import beyond_open_ends
from simulator.logs.inspection.plausibility import scene_report
from simulator.logs.raw_tracks import RawTracks
from simulator.logs.readers.build_scene import build_scene
from simulator.roads.building.raw_map import RawLane, RawMap
from simulator.roads.building.repairs import Repairs
from tests.recorded import provenance, road_map_of, straight_line

STEPS = 60


def _road() -> RawMap:
    """Two lanes of 3.5 m eastwards, one after the other, from x = 0 to 200 along y = 0."""
    lines = [straight_line(a, a + 100, 21) for a in (0, 100)]
    return RawMap([
        RawLane("a", lines[0], successors=["b"], predecessors=[]),
        RawLane("b", lines[1], successors=[], predecessors=["a"]),
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("place", "beyond"),
    [
        ((203.0, 1.0), True),  # ahead of the end
        ((260.0, -50.0), True),  # far ahead, on a road that may have turned
        ((-4.0, 0.0), True),  # before the start
        ((203.0, 12.0), False),  # beside the end
        ((199.0, 4.0), False),  # off the road before it ends
        ((100.5, 9.0), False),  # where one lane passes on to the next there is no end
    ],
)
def test_positions_past_an_open_end(place: tuple[float, float], beyond: bool) -> None:
    road_map, _ = road_map_of(_road(), STEPS, 12.0)
    assert beyond_open_ends(np.array([place]), road_map).tolist() == [beyond]


def _scene(starts: list[tuple[float, float]], ego: str | None = None):
    """Cars of 4 x 2 m that start there and drive east at 10 m/s for 6 s."""
    x = np.array([start[0] for start in starts])[:, None] + np.arange(STEPS)
    y = np.broadcast_to(np.array([start[1] for start in starts])[:, None], x.shape)
    count = len(starts)
    tracks = RawTracks(
        ids=[f"t{n}" for n in range(count)], kind=np.full(count, CAR), size=np.tile([4.0, 2.0, 1.5], (count, 1)),
        position=np.stack([x, y, np.zeros(x.shape)], axis=2), yaw=np.zeros(x.shape), velocity=None,
        valid=np.ones(x.shape, bool),
    )  # fmt: skip
    return build_scene(tracks, _road(), provenance(), 0.1, ego, 12.0, Repairs())


def test_states_past_the_end_are_removed_and_those_beside_the_road_remain() -> None:
    """The first drives out at x = 198.3 after 3.8 s, the second beside the road, the third starts beyond the end."""
    scene = _scene([(160.0, 0.0), (20.0, 2.5), (230.0, 0.0)])
    assert scene.log.track_ids.tolist() == ["t0", "t1"]
    assert scene.log.valid.sum(axis=1).tolist() == [39, STEPS]
    assert "states beyond the end of the map made invalid: 81" in scene.log.repairs
    assert "tracks beyond the end of the map left out: 1" in scene.log.repairs
    assert scene_report(scene).offroad_s == pytest.approx(STEPS * 0.1)


def test_the_ego_is_never_cut() -> None:
    scene = _scene([(230.0, 0.0), (160.0, 0.0)], ego="t1")
    assert scene.log.track_ids.tolist() == ["t1"]
    assert scene.log.ego_track == 0
    assert scene.log.valid.all()
