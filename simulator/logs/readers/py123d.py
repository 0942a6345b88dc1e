"""Import scenes that py123d has converted to its Arrow format: nuPlan, KITTI-360, PandaSet, Waymo and others.

py123d writes one folder per log (`logs/<split>/<log>/sync.arrow` and one file per modality), and maps beside the logs
or inside them. Long logs are split into scenes of SCENE_S; of the map of a city only the part near the traffic is
kept.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from gigapixel.run_folder.exit_codes import reason_of
from simulator.conventions import CAR, CYCLIST, GREEN, OFF, PEDESTRIAN, RED, YELLOW
from simulator.logs.import_logs import LogReader, Refused, attempt
from simulator.logs.raw_tracks import RawTracks, tracks_from_rows, vehicle_kind
from simulator.logs.readers.build_scene import LOG_IMPORTER_VERSION, build_scene, source_digest
from simulator.logs.readers.malformed import malformed, refuse_malformed
from simulator.logs.readers.py123d_map import source_map_of
from simulator.logs.readers.timestamps import even_timestep_s
from simulator.logs.scene_pack import LoggedScene
from simulator.roads.building.raw_map import Provenance, RawMap, Signal
from simulator.roads.building.repairs import Repairs
from simulator.roads.road_map import StopKind

SCENE_S = 20.0
"""Length of a scene, as in nuScenes; a remainder shorter than half of it belongs to the previous scene."""
MAP_MARGIN_M = 80.0
"""Margin of the map around all positions of traffic."""
PY123D_LIMIT_MPS = 13.9
"""50 km/h, for lanes without a limit."""
PY123D_EGO_ID = "ego"
_LIGHTS = {"GREEN": GREEN, "YELLOW": YELLOW, "RED": RED}
_PY123D_KINDS = {"TWO_WHEELER": CYCLIST, "PERSON": PEDESTRIAN}
_LAYERS = (
    "LANE", "LANE_GROUP", "INTERSECTION", "CROSSWALK", "WALKWAY", "CARPARK", "GENERIC_DRIVABLE", "STOP_ZONE",
    "ROAD_EDGE", "ROAD_LINE",
)  # fmt: skip


def py123d_folders(root: Path) -> list[Path]:
    """All converted logs in a folder, itself included: every folder with tables of a log, so that one without its
    sync.arrow is refused by name."""
    tables = [path for path in root.rglob("*.arrow") if "maps" not in path.relative_to(root).parts[:-1]]
    return sorted({path.parent for path in tables if path.name != "map.arrow"})


@refuse_malformed
def read_py123d(folder: Path) -> list[LoggedScene | Refused]:
    """The scenes of one converted log, each of which may be refused by itself. Raises OSError for missing files and
    ValueError for invalid ones; messages name the folder."""
    log, said = _open(folder), Repairs()
    times = np.array([log.get_timestamp_at_iteration(i).time_us for i in range(log.number_of_iterations)])
    timestep_s = even_timestep_s(folder / "sync.arrow", "sync.timestamp_us", times, "us", said)
    digest = source_digest(sorted(folder.glob("*.arrow")))
    importer = f"gigapixel py123d {LOG_IMPORTER_VERSION}, py123d {importlib.metadata.version('py123d')}"
    parts = _parts(len(times), timestep_s)
    scenes: list[LoggedScene | Refused] = []
    for number, steps in enumerate(parts):
        name = log.log_name if len(parts) == 1 else f"{log.log_name}-{number:03d}"
        provenance = Provenance(name, folder.name, digest, importer, f"py123d:{log.dataset}")
        repairs = Repairs(dict(said.counts), dict(said.remarks))
        scenes += _attempt_part(folder, log, steps, provenance, timestep_s, repairs)
    return scenes


def _attempt_part(
    folder: Path, log: Any, steps: range, provenance: Provenance, timestep_s: float, repairs: Repairs
) -> list[LoggedScene | Refused]:
    """One scene of a log, or its refusal."""

    @refuse_malformed
    def read_part(folder: Path) -> LoggedScene:
        tracks = _tracks(folder, log, steps, repairs)
        road = _road(folder, log, tracks, repairs)
        road.signals += _signals(log, steps)
        return build_scene(tracks, road, provenance, timestep_s, PY123D_EGO_ID, PY123D_LIMIT_MPS, repairs)

    return attempt(read_part, folder)


def _open(folder: Path) -> Any:
    """py123d's handle of a log. Raises FileNotFoundError, or ValueError whatever else py123d raises."""
    from py123d.api.scene.arrow.arrow_scene_api import ArrowSceneAPI

    if not (folder / "sync.arrow").is_file():
        raise FileNotFoundError(f"{folder}: holds no sync.arrow; expected a log that py123d has converted")
    for table in sorted(folder.glob("*.arrow")):
        _check_table(table)
    maps = next((up / "maps" for up in folder.parents if (up / "maps").is_dir()), None)
    try:
        log = ArrowSceneAPI(folder, maps_root=maps)
        log.get_scene_metadata()
        return log
    except Exception as error:  # a third-party reader fails in as many ways as there are broken files
        raise ValueError(
            f"{folder}: not a readable log ({reason_of(error)}); expected one that py123d has converted"
        ) from error


def _check_table(path: Path) -> None:
    """Raises ValueError for a damaged table: py123d maps tables unchecked, and offsets beyond the file would end
    the process."""
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as file:
            pyarrow.ipc.open_file(file).read_all().validate(full=True)
    except (OSError, pyarrow.ArrowException) as error:
        raise malformed(path, error, "an intact table") from error


def _parts(steps: int, timestep_s: float) -> list[range]:
    """Ranges of steps, one per scene."""
    length = max(2, round(SCENE_S / timestep_s))
    starts = list(range(0, steps, length))
    if len(starts) > 1 and steps - starts[-1] < length / 2:
        starts.pop()
    return [range(a, b) for a, b in zip(starts, [*starts[1:], steps], strict=True)]


def _tracks(folder: Path, log: Any, steps: range, repairs: Repairs) -> RawTracks:
    rows = [row for at, step in enumerate(steps) for row in _boxes(log, step, at, repairs)]
    if not rows:
        raise ValueError(f"{folder}: holds no boxes and no ego poses; expected at least one road user")
    names, at, kinds, box, velocity = (np.array(column) for column in zip(*rows, strict=True))
    # Data sets without velocities have zeros.
    given = velocity if np.abs(np.nan_to_num(velocity)).max() > 0 else None
    return tracks_from_rows(names, at, kinds, box[:, :3], box[:, 3], box[:, 4:], len(steps), given)


def _boxes(
    log: Any, step: int, at: int, repairs: Repairs
) -> Iterator[tuple[str, int, int, list[float], list[float]]]:
    """(name, step, kind, [x, y, z of the ground, yaw, length, width, height], velocity) of every road user at one step.

    Metres, radians and m/s; a velocity is [x, y], NaN where the box has none. `step` counts in the log, `at` in the
    scene.
    """
    ego = log.get_ego_state_se3_at_iteration(step)
    if ego is not None:
        yield _row(PY123D_EGO_ID, at, CAR, ego.box_detection_se3)
    for box in log.get_box_detections_se3_at_iteration(step) or ():
        label = box.attributes.default_label.name
        if label == "VEHICLE":
            yield _row(box.attributes.track_token, at, vehicle_kind(box.bounding_box_se3.length), box)
        elif label in _PY123D_KINDS:
            yield _row(box.attributes.track_token, at, _PY123D_KINDS[label], box)
        elif label != "EGO":
            repairs.add("boxes that are no road users left out")


def _row(name: object, at: int, kind: int, box: Any) -> tuple[str, int, int, list[float], list[float]]:
    shape = box.bounding_box_se3
    pose = shape.center_se3
    speed = box.velocity_3d
    velocity = [np.nan, np.nan] if speed is None else [speed.x, speed.y]
    return str(name), at, kind, [pose.x, pose.y, pose.z - shape.height / 2, pose.yaw,
                                 shape.length, shape.width, shape.height], velocity  # fmt: skip


def _road(folder: Path, log: Any, tracks: RawTracks, repairs: Repairs) -> RawMap:
    from py123d.datatypes.map_objects import MapLayer

    city = log.get_map_api()
    if city is None:
        raise ValueError(f"{folder}: has no map; expected map.arrow in it or the map of its city in maps/")
    xy = tracks.position[tracks.valid][:, :2]
    window = shapely.box(*(xy.min(0) - MAP_MARGIN_M), *(xy.max(0) + MAP_MARGIN_M))
    layers = [MapLayer[name] for name in _LAYERS if MapLayer[name] in city.get_available_map_layers()]
    found = city.query(window, layers, predicate="intersects")
    return source_map_of([item for layer in found.values() for item in layer], repairs)


def _signals(log: Any, steps: range) -> list[Signal]:
    """Lights by lane with their states; steps without a detection are OFF."""
    shown: dict[str, np.ndarray] = {}
    for at, step in enumerate(steps):
        for light in log.get_traffic_light_detections_at_iteration(step) or ():
            states = shown.setdefault(str(light.lane_id), np.full(len(steps), OFF, np.int32))
            states[at] = _LIGHTS.get(light.status.name, OFF)
    return [Signal(StopKind.TRAFFIC_LIGHT, [lane], None, states) for lane, states in shown.items()]


READER = LogReader(("logs/py123d",), py123d_folders, read_py123d)
