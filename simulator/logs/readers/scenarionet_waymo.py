"""Maps of Waymo scenes in ScenarioNet's format, which have lane links, limits, stop signs and lights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator.conventions import OFF
from simulator.logs.readers.nuscenes import feature_line
from simulator.logs.readers.waymo_map import MARKING_NAMES, MPH, MapElement, light_number, waymo_map
from simulator.roads.building.raw_map import RawMap, Signal
from simulator.roads.building.repairs import Repairs
from simulator.roads.road_map import StopKind

_LANE_NUMBERS = {"FREEWAY": 1, "SURFACE_STREET": 2, "BIKE_LANE": 3}
_OTHER_KINDS = {
    "STOP_SIGN": "stop_sign",
    "CROSSWALK": "crosswalk",
    "DRIVEWAY": "driveway",
    "SPEED_BUMP": "speed_bump",
}


def waymo_scene_map(path: Path, contents: dict[str, Any], steps: int, repairs: Repairs) -> RawMap:
    """The map of a Waymo scene with lane links, limits, stop signs and lights."""
    elements = []
    for name, feature in contents["map_features"].items():
        kind = str(feature.get("type"))
        element = _waymo_element(path, str(name), kind, feature)
        if element is not None:
            elements.append(element)
    signals = []
    for light in (contents.get("dynamic_map_states") or {}).values():
        shown = list(light.get("state", {}).get("object_state", ()))[:steps]
        states = np.array([light_number(state) for state in shown] + [OFF] * (steps - len(shown)), np.int32)
        point = light.get("stop_point")
        signals.append(
            Signal(
                StopKind.TRAFFIC_LIGHT, [str(light.get("lane"))],
                None if point is None else np.asarray(point, np.float64).reshape(3), states,
            )
        )  # fmt: skip
    return waymo_map(elements, signals, repairs)


def _waymo_element(path: Path, name: str, kind: str, feature: dict[str, Any]) -> MapElement | None:
    if kind.startswith("LANE_"):
        neighbours = [_longest(feature.get(f"{side}_neighbor")) for side in ("left", "right")]
        limit = feature.get("speed_limit_mph")
        return MapElement(
            name, "lane", feature_line(path, name, feature.get("polyline"), 3),
            _LANE_NUMBERS.get(kind.removeprefix("LANE_")),
            successors=[str(lane) for lane in feature.get("exit_lanes", ())],
            predecessors=[str(lane) for lane in feature.get("entry_lanes", ())],
            neighbours=(neighbours[0], neighbours[1]), limit_mps=None if not limit else float(limit) * MPH,
        )  # fmt: skip
    if kind.startswith("ROAD_LINE_"):
        number = MARKING_NAMES.get(kind.removeprefix("ROAD_LINE_"))
        return MapElement(name, "road_line", feature_line(path, name, feature.get("polyline"), 3), number)
    if kind.startswith("ROAD_EDGE_"):
        return MapElement(name, "road_edge", feature_line(path, name, feature.get("polyline"), 3))
    if kind == "STOP_SIGN":
        point = np.asarray(feature.get("position"), np.float64).reshape(1, -1)
        return MapElement(
            name,
            "stop_sign",
            feature_line(path, name, point, 3),
            controls=[str(lane) for lane in feature.get("lane", ())],
        )
    if kind in _OTHER_KINDS:
        return MapElement(name, _OTHER_KINDS[kind], feature_line(path, name, feature.get("polygon"), 3))
    return None


def _longest(neighbours: Any) -> str | None:
    """The identifier of the neighbour that runs beside the lane for longest, None without neighbours."""
    if not neighbours:
        return None
    best = max(neighbours, key=lambda one: int(one["self_end_index"]) - int(one["self_start_index"]))
    return str(best["feature_id"])
