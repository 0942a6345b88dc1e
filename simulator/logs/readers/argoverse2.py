"""Import Argoverse 2: sensor logs (boxes and poses as Arrow tables) and scenarios of the forecasting data set.

Maps are read by py123d. Boxes are read here, because py123d needs the calibration of every camera for them. A sensor
log gives boxes in the frame of the ego, whose own box is derived from its poses, which are those of its rear axle. A
forecasting scenario has neither sizes nor heights.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import scipy.spatial
from scipy.spatial.transform import Rotation

from simulator.conventions import CAR, CYCLIST, PEDESTRIAN, TRUCK
from simulator.logs.import_logs import LogReader
from simulator.logs.raw_tracks import RawTracks, tracks_from_rows
from simulator.logs.readers.argoverse2_map import argoverse2_map
from simulator.logs.readers.build_scene import LOG_IMPORTER_VERSION, build_scene, source_digest
from simulator.logs.readers.malformed import refuse_malformed
from simulator.logs.readers.timestamps import even_step_s, unit_of
from simulator.logs.scene_pack import LoggedScene
from simulator.roads.building.raw_map import Provenance, RawMap
from simulator.roads.building.repairs import Repairs

AV2_LIMIT_MPS = 11.2
"""25 mph, the urban limit of Argoverse's six cities; its maps have no limits."""
POSE_GAP_S = 0.05
"""Largest time between a box and the nearest pose; poses come at 100 to 200 Hz."""
EGO_ID = "AV"
_MARKS = (
    "city_SE3_egovehicle.feather", "annotations*.feather", "scenario_*.parquet", "log_map_archive_*.json",
)  # fmt: skip
FORECAST_TIMESTEP_S = 0.1
MOST_STEPS = 10_000
"""No scenario is longer; they have 110 steps."""
_TEXT = ("track_uuid", "category", "track_id", "object_type")
"""Columns of text; all others are numbers."""
_SENSOR_KINDS = {
    "REGULAR_VEHICLE": CAR, "LARGE_VEHICLE": TRUCK, "BUS": TRUCK, "BOX_TRUCK": TRUCK, "TRUCK": TRUCK,
    "TRUCK_CAB": TRUCK, "VEHICULAR_TRAILER": TRUCK, "SCHOOL_BUS": TRUCK, "ARTICULATED_BUS": TRUCK,
    "RAILED_VEHICLE": TRUCK, "BICYCLE": CYCLIST, "MOTORCYCLE": CYCLIST, "WHEELED_DEVICE": CYCLIST,
    "PEDESTRIAN": PEDESTRIAN, "OFFICIAL_SIGNALER": PEDESTRIAN, "STROLLER": PEDESTRIAN, "WHEELCHAIR": PEDESTRIAN,
}  # fmt: skip
_TRAILERS = ("VEHICULAR_TRAILER", "TRAFFIC_LIGHT_TRAILER", "MESSAGE_BOARD_TRAILER")
_RIDERS = ("BICYCLIST", "MOTORCYCLIST", "WHEELED_RIDER")
"""Riders of vehicles that have a box, and so a track, of their own."""
_FORECAST_KINDS = {
    "vehicle": CAR, "bus": TRUCK, "motorcyclist": CYCLIST, "cyclist": CYCLIST, "riderless_bicycle": CYCLIST,
    "pedestrian": PEDESTRIAN,
}  # fmt: skip


@refuse_malformed
def read_av2(folder: Path) -> LoggedScene:
    """The scene of one log folder. Raises OSError for missing files and ValueError for invalid ones; messages name
    the file."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected an Argoverse 2 log")
    parquet = sorted(folder.glob("scenario_*.parquet"))
    return _read_scenario(folder, parquet[0]) if parquet else _read_sensor_log(folder)


def av2_folders(root: Path) -> list[Path]:
    """All Argoverse 2 logs in a folder, itself included: every folder with any of the files of a log, so that one that
    lacks the others is refused by name."""
    marks = [mark for pattern in _MARKS for mark in root.rglob(pattern)]
    folders = {mark.parent for mark in marks}
    return sorted({folder.parent if folder.name == "map" else folder for folder in folders})


def _read_sensor_log(folder: Path) -> LoggedScene:
    repairs = Repairs()
    boxes_path = next(iter(sorted(folder.glob("annotations*.feather"))), folder / "annotations.feather")
    boxes = _table(boxes_path, ("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m",
                                "qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m"), repairs)  # fmt: skip
    poses_path = folder / "city_SE3_egovehicle.feather"
    poses = _table(poses_path, ("timestamp_ns", "qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m"), repairs)
    times, step = np.unique(boxes["timestamp_ns"], return_inverse=True)
    unit_s = unit_of(boxes_path, "timestamp_ns", times, "ns", repairs)
    timestep_s = even_step_s(boxes_path, "timestamp_ns", times, unit_s)
    rotation, position = _poses_at(poses_path, poses, times, unit_s, repairs)
    kinds = np.array([_SENSOR_KINDS.get(category, -1) for category in boxes["category"]])
    riders = np.isin(boxes["category"], _RIDERS)
    repairs.add("boxes of riders left out", riders.sum())
    repairs.add("boxes that are no road users left out", ((kinds < 0) & ~riders).sum())
    used = np.flatnonzero(kinds >= 0)
    turn, broken = _rotations(boxes)
    turned = rotation[step] * turn
    centre = rotation[step].apply(_columns(boxes, "tx_m", "ty_m", "tz_m")) + position[step]
    centre[:, 2] -= boxes["height_m"] / 2
    centre[broken] = np.nan
    tracks = tracks_from_rows(
        boxes["track_uuid"][used], step[used], kinds[used], centre[used], turned[used].as_euler("ZYX")[:, 0],
        _columns(boxes, "length_m", "width_m", "height_m")[used], len(times),
    )  # fmt: skip
    trailers = set(boxes["track_uuid"][np.isin(boxes["category"], _TRAILERS)])
    tracks.trailer = np.array([name in trailers for name in tracks.ids], bool)
    tracks = _with_ego(tracks, rotation, position, repairs)
    road = argoverse2_map(folder / "map", repairs)
    files = [boxes_path, poses_path, *sorted((folder / "map").glob("log_map_archive_*.json"))]
    provenance = Provenance(folder.name, boxes_path.name, source_digest(files), _importer(), "av2")
    return build_scene(tracks, road, provenance, timestep_s, EGO_ID, AV2_LIMIT_MPS, repairs)


def _importer() -> str:
    return f"gigapixel av2 {LOG_IMPORTER_VERSION}, py123d {importlib.metadata.version('py123d')}"


def _table(path: Path, columns: tuple[str, ...], repairs: Repairs) -> dict[str, np.ndarray]:
    """Columns of a feather or parquet file by name, without rows that lack a value. Raises FileNotFoundError, or
    ValueError whatever else the reader raises."""
    import pyarrow
    import pyarrow.feather
    import pyarrow.parquet

    read = pyarrow.parquet.read_table if path.suffix == ".parquet" else pyarrow.feather.read_table
    try:
        table = read(path)
        table.validate(full=True)  # offsets beyond the file would end the process
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; expected a table of Argoverse 2") from error
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: truncated or damaged table ({reason}); expected an intact one") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise ValueError(f"{path}: has no column {missing[0]}; expected {', '.join(columns)}")
    complete = table.select(columns).drop_null()
    repairs.add(
        f"rows of {path.suffix[1:]} tables without a value left out", table.num_rows - complete.num_rows
    )
    if complete.num_rows == 0:
        raise ValueError(f"{path}: has no rows; expected at least one")
    return {name: _column(path, name, complete[name].to_pylist()) for name in columns}


def _column(path: Path, name: str, values: list[Any]) -> np.ndarray:
    """One column as text or as numbers, whichever it should be."""
    if name in _TEXT:
        return np.asarray([str(value) for value in values])
    result = np.asarray(values)
    if result.dtype.kind not in "iuf":
        raise ValueError(f"{path}: column {name} holds {values[0]!r}; expected numbers")
    return result


def _columns(table: dict[str, np.ndarray], *names: str) -> np.ndarray:
    return np.stack([table[name].astype(np.float64) for name in names], axis=1)


def _rotations(table: dict[str, np.ndarray]) -> tuple[Rotation, np.ndarray]:
    """Rotations of the rows, and which rows [n] have none: those are the identity."""
    quaternion = _columns(table, "qx", "qy", "qz", "qw")
    broken = ~np.isfinite(quaternion).all(axis=1) | ~quaternion.any(axis=1)
    quaternion[broken] = [0.0, 0.0, 0.0, 1.0]
    return Rotation.from_quat(quaternion), broken


def _poses_at(
    path: Path, poses: dict[str, np.ndarray], times: np.ndarray, unit_s: float, repairs: Repairs
) -> tuple[Rotation, np.ndarray]:
    """Rotation and position [steps, 3] m of the ego's rear axle in the frame of the city at these times, in units of
    `unit_s`; positions of broken poses are NaN."""
    stamps = poses["timestamp_ns"]
    own_s = unit_of(path, "timestamp_ns", stamps, "ns", repairs) if len(stamps) > 1 else unit_s
    if own_s != unit_s:
        stamps = np.round(stamps * (own_s / unit_s)).astype(np.int64)
    order = np.argsort(stamps)
    after = np.clip(np.searchsorted(stamps[order], times), 1, len(stamps) - 1)
    before = after - 1
    nearer = np.where(times - stamps[order][before] < stamps[order][after] - times, before, after)
    chosen = order[nearer]
    gap_s = np.abs(stamps[chosen] - times).max() * unit_s
    if gap_s > POSE_GAP_S:
        raise ValueError(
            f"{path}: timestamp_ns lies {gap_s:.3f} s from a box's; expected at most {POSE_GAP_S:g} s"
        )
    rotation, broken = _rotations(poses)
    place = _columns(poses, "tx_m", "ty_m", "tz_m")
    place[broken] = np.nan
    return rotation[chosen], place[chosen]


def _with_ego(tracks: RawTracks, rotation: Rotation, position: np.ndarray, repairs: Repairs) -> RawTracks:
    """The tracks with the ego as the last one, from its poses and from py123d's size and rear-axle offset of the
    vehicle."""
    from py123d.parser.av2.utils.av2_constants import AV2_SENSOR_EGO_STATE_SE3_METADATA as CAR_METADATA

    middle = CAR_METADATA.center_to_imu_se3
    size = np.array([CAR_METADATA.length, CAR_METADATA.width, CAR_METADATA.height])
    centre = position + rotation.apply([middle.x, middle.y, middle.z])
    centre[:, 2] -= size[2] / 2
    repairs.add("self-driving car placed by its poses")
    return RawTracks(
        ids=[*tracks.ids, EGO_ID], kind=np.append(tracks.kind, CAR), size=np.concatenate([tracks.size, size[None]]),
        position=np.concatenate([tracks.position, centre[None]]),
        yaw=np.concatenate([tracks.yaw, rotation.as_euler("ZYX")[None, :, 0]]), velocity=None,
        valid=np.concatenate([tracks.valid, np.ones((1, len(position)), bool)]),
        trailer=None if tracks.trailer is None else np.append(tracks.trailer, False),
    )  # fmt: skip


def _read_scenario(folder: Path, path: Path) -> LoggedScene:
    repairs = Repairs()
    rows = _table(path, ("track_id", "object_type", "timestep", "position_x", "position_y", "heading",
                         "velocity_x", "velocity_y"), repairs)  # fmt: skip
    kinds = np.array([_FORECAST_KINDS.get(name, -1) for name in rows["object_type"]])
    used = np.flatnonzero(kinds >= 0)
    repairs.add("boxes that are no road users left out", (kinds < 0).sum())
    at = _steps(path, rows["timestep"])
    xy = _columns(rows, "position_x", "position_y")
    road = argoverse2_map(folder, repairs)
    height = _heights(road, xy)
    repairs.add("tracks lifted to the nearest lane", len(set(rows["track_id"][used])))
    tracks = tracks_from_rows(
        rows["track_id"][used], at[used], kinds[used], np.column_stack([xy, height])[used],
        rows["heading"][used], np.full((len(used), 3), np.nan), int(at.max()) + 1,
        _columns(rows, "velocity_x", "velocity_y")[used],
    )  # fmt: skip
    files = [path, *sorted(folder.glob("log_map_archive_*.json"))]
    provenance = Provenance(folder.name, path.name, source_digest(files), _importer(), "av2")
    return build_scene(tracks, road, provenance, FORECAST_TIMESTEP_S, EGO_ID, AV2_LIMIT_MPS, repairs)


def _steps(path: Path, timestep: np.ndarray) -> np.ndarray:
    """The step of each row. Raises ValueError for numbers that do not count the steps of a scenario."""
    low, high = timestep.min(), timestep.max()
    if not 0 <= low <= high < MOST_STEPS:  # NaN too
        raise ValueError(f"{path}: timestep holds {low} to {high}; expected 0 to {MOST_STEPS - 1}")
    return timestep.astype(int)


def _heights(road: RawMap, xy: np.ndarray) -> np.ndarray:
    """Height [n] of the lane point nearest to each position [n, 2], m."""
    points = np.concatenate([lane.centre for lane in road.lanes] or [np.zeros((1, 3))])
    known = np.where(np.isfinite(xy), xy, 0.0)
    return points[scipy.spatial.cKDTree(points[:, :2]).query(known)[1], 2]


READER = LogReader(("logs/av2_sensor_logs", "logs/av2_forecasting"), av2_folders, read_av2)
