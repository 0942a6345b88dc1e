"""Import Argoverse 2: sensor logs (boxes and poses as Arrow tables) and scenarios of the forecasting data set.

Maps are read by py123d. Boxes are read here, because py123d needs the calibration of every camera for them. A sensor
log gives boxes in the frame of the ego, whose own box is derived from its poses, which are those of its rear axle. A
forecasting scenario has neither sizes nor heights.
"""

from __future__ import annotations

import importlib.metadata
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.spatial
from scipy.spatial.transform import Rotation

from simulator.conventions import CAR, CYCLIST, PEDESTRIAN, TRUCK
from simulator.logs.import_logs import LogReader
from simulator.logs.raw_tracks import RawTracks, tracks_from_rows
from simulator.logs.readers.build_scene import LOG_IMPORTER_VERSION, build_scene, source_digest
from simulator.logs.readers.py123d_map import source_map_of
from simulator.logs.readers.timestamps import even_timestep_s
from simulator.logs.scene_pack import LoggedScene
from simulator.roads.building.raw_map import Provenance, RawMap
from simulator.roads.building.repairs import Repairs

AV2_LIMIT_MPS = 11.2
"""25 mph, the urban limit of Argoverse's six cities; its maps have no limits."""
POSE_GAP_S = 0.05
"""Largest time between a box and the nearest pose; poses come at 100 to 200 Hz."""
EGO_ID = "AV"
FORECAST_TIMESTEP_S = 0.1
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


def read_av2(folder: Path) -> LoggedScene:
    """The scene of one log folder. Raises OSError for missing files and ValueError for invalid ones; messages name
    the file."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected an Argoverse 2 log")
    parquet = sorted(folder.glob("scenario_*.parquet"))
    return _read_scenario(folder, parquet[0]) if parquet else _read_sensor_log(folder)


def av2_folders(root: Path) -> list[Path]:
    """All Argoverse 2 logs in a folder, itself included."""
    marks = [*root.rglob("city_SE3_egovehicle.feather"), *root.rglob("scenario_*.parquet")]
    return sorted({mark.parent for mark in marks})


def _read_sensor_log(folder: Path) -> LoggedScene:
    repairs = Repairs()
    boxes_path = next(iter(sorted(folder.glob("annotations*.feather"))), folder / "annotations.feather")
    boxes = _table(boxes_path, ("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m",
                                "qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m"))  # fmt: skip
    poses_path = folder / "city_SE3_egovehicle.feather"
    poses = _table(poses_path, ("timestamp_ns", "qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m"))
    times, step = np.unique(boxes["timestamp_ns"], return_inverse=True)
    timestep_s = even_timestep_s(boxes_path, "timestamp_ns", (times - times[0]) / 1e9)
    rotation, position = _poses_at(poses_path, poses, times)
    kinds = np.array([_SENSOR_KINDS.get(category, -1) for category in boxes["category"]])
    riders = np.isin(boxes["category"], _RIDERS)
    repairs.add("boxes of riders left out", riders.sum())
    repairs.add("boxes that are no road users left out", ((kinds < 0) & ~riders).sum())
    used = np.flatnonzero(kinds >= 0)
    turned = rotation[step] * Rotation.from_quat(_columns(boxes, "qx", "qy", "qz", "qw"))
    centre = rotation[step].apply(_columns(boxes, "tx_m", "ty_m", "tz_m")) + position[step]
    centre[:, 2] -= boxes["height_m"] / 2
    tracks = tracks_from_rows(
        boxes["track_uuid"][used], step[used], kinds[used], centre[used], turned[used].as_euler("ZYX")[:, 0],
        _columns(boxes, "length_m", "width_m", "height_m")[used], len(times),
    )  # fmt: skip
    trailers = set(boxes["track_uuid"][np.isin(boxes["category"], _TRAILERS)])
    tracks.trailer = np.array([name in trailers for name in tracks.ids], bool)
    tracks = _with_ego(tracks, rotation, position, repairs)
    road = _map_objects(folder / "map", repairs)
    files = [boxes_path, poses_path, *sorted((folder / "map").glob("log_map_archive_*.json"))]
    provenance = Provenance(folder.name, boxes_path.name, source_digest(files), _importer(), "av2")
    return build_scene(tracks, road, provenance, timestep_s, EGO_ID, AV2_LIMIT_MPS, repairs)


def _importer() -> str:
    return f"gigapixel av2 {LOG_IMPORTER_VERSION}, py123d {importlib.metadata.version('py123d')}"


def _table(path: Path, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns of a feather or parquet file by name. Raises FileNotFoundError, or ValueError whatever else the reader
    raises."""
    import pyarrow
    import pyarrow.feather
    import pyarrow.parquet

    read = pyarrow.parquet.read_table if path.suffix == ".parquet" else pyarrow.feather.read_table
    try:
        table = read(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; expected a table of Argoverse 2") from error
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: truncated or damaged table ({reason}); expected an intact one") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise ValueError(f"{path}: has no column {missing[0]}; expected {', '.join(columns)}")
    if table.num_rows == 0:
        raise ValueError(f"{path}: has no rows; expected at least one")
    return {name: np.asarray(table[name].to_pylist()) for name in columns}


def _columns(table: dict[str, np.ndarray], *names: str) -> np.ndarray:
    return np.stack([table[name].astype(np.float64) for name in names], axis=1)


def _poses_at(path: Path, poses: dict[str, np.ndarray], times: np.ndarray) -> tuple[Rotation, np.ndarray]:
    """Rotation and position [steps, 3] m of the ego's rear axle in the frame of the city at these times (ns)."""
    stamps = poses["timestamp_ns"]
    order = np.argsort(stamps)
    after = np.clip(np.searchsorted(stamps[order], times), 1, len(stamps) - 1)
    before = after - 1
    nearer = np.where(times - stamps[order][before] < stamps[order][after] - times, before, after)
    chosen = order[nearer]
    gap_s = np.abs(stamps[chosen] - times).max() / 1e9
    if gap_s > POSE_GAP_S:
        raise ValueError(
            f"{path}: timestamp_ns lies {gap_s:.3f} s from a box's; expected at most {POSE_GAP_S:g} s"
        )
    rotation = Rotation.from_quat(_columns(poses, "qx", "qy", "qz", "qw")[chosen])
    return rotation, _columns(poses, "tx_m", "ty_m", "tz_m")[chosen]


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


def _map_objects(folder: Path, repairs: Repairs) -> RawMap:
    """The map from the `log_map_archive_*.json` of a folder, read by py123d."""
    from py123d.parser.av2.av2_map_parser import Av2MapParser

    archive = next(iter(sorted(folder.glob("log_map_archive_*.json"))), None)
    if archive is None:
        raise FileNotFoundError(f"{folder}: holds no log_map_archive_*.json; expected the map of the log")
    with tempfile.TemporaryDirectory() as parent:  # the parser expects a folder named map
        (Path(parent) / "map").symlink_to(folder.resolve(), target_is_directory=True)
        quiet = logging.getLogger("py123d")
        level = quiet.level
        quiet.setLevel(logging.ERROR)  # it warns about heights that it fills
        try:
            objects: list[Any] = list(Av2MapParser(Path(parent), "av2-sensor_val").iter_map_objects())
        except Exception as error:  # a third-party parser fails in as many ways as there are broken files
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ValueError(
                f"{archive}: not a readable map ({reason}); expected an intact map archive"
            ) from error
        finally:
            quiet.setLevel(level)
    return source_map_of(objects, repairs)


def _read_scenario(folder: Path, path: Path) -> LoggedScene:
    repairs = Repairs()
    rows = _table(path, ("track_id", "object_type", "timestep", "position_x", "position_y", "heading",
                         "velocity_x", "velocity_y"))  # fmt: skip
    kinds = np.array([_FORECAST_KINDS.get(name, -1) for name in rows["object_type"]])
    used = np.flatnonzero(kinds >= 0)
    repairs.add("boxes that are no road users left out", (kinds < 0).sum())
    steps = int(rows["timestep"].max()) + 1
    xy = _columns(rows, "position_x", "position_y")
    road = _map_objects(folder, repairs)
    height = _heights(road, xy)
    repairs.add("tracks lifted to the nearest lane", len(set(rows["track_id"][used])))
    tracks = tracks_from_rows(
        rows["track_id"][used], rows["timestep"][used], kinds[used], np.column_stack([xy, height])[used],
        rows["heading"][used], np.full((len(used), 3), np.nan), steps, _columns(rows, "velocity_x", "velocity_y")[used],
    )  # fmt: skip
    files = [path, *sorted(folder.glob("log_map_archive_*.json"))]
    provenance = Provenance(folder.name, path.name, source_digest(files), _importer(), "av2")
    return build_scene(tracks, road, provenance, FORECAST_TIMESTEP_S, EGO_ID, AV2_LIMIT_MPS, repairs)


def _heights(road: RawMap, xy: np.ndarray) -> np.ndarray:
    """Height [n] of the lane point nearest to each position [n, 2], m."""
    points = np.concatenate([lane.centre for lane in road.lanes] or [np.zeros((1, 3))])
    return points[scipy.spatial.cKDTree(points[:, :2]).query(xy)[1], 2]


READER = LogReader(("logs/av2_sensor_logs", "logs/av2_forecasting"), av2_folders, read_av2)
