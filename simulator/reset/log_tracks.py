"""The tracks of a log at the simulator's step: what a world replays, and where its drivers start.

On the host. Where a step of the simulator coincides with one of the log, states are exactly the log's; else they are
interpolated. Of a scene with more tracks than agents the nearest ones are kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.config import SimulatorConfig
from simulator.logs.traffic_log import TrafficLog, parked_tracks, wrapped
from simulator.state import LogReplay

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogTracks:
    """Tracks of a log at the simulator's step, in the frame of its `TrafficLog`.

    Every track is valid at some step. Where a state is not valid, the last valid one before it, else the first one
    after it, is held.
    """

    number: np.ndarray  # [tracks] int: which track of the log
    position: np.ndarray  # [tracks, steps, 3] f32, m: centre of the box, at ground height
    yaw: np.ndarray  # [tracks, steps] f32, rad
    speed: np.ndarray  # [tracks, steps] f32, m/s, signed
    valid: np.ndarray  # [tracks, steps] bool
    light_state: np.ndarray  # [stops, steps] i32: OFF, GREEN, YELLOW or RED

    def take(self, rows: np.ndarray) -> LogTracks:
        """The tracks at these indices or of this mask."""
        names = ("number", "position", "yaw", "speed", "valid")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def num_log_steps(log: TrafficLog, config: SimulatorConfig) -> int:
    """Number of states, the first included, of a log at the simulator's step."""
    ratio = config.timestep_s / log.timestep_s
    return max(int((log.num_steps - 1) / ratio + 1e-6) + 1, 0)


def tracks_at_simulator_steps(log: TrafficLog, config: SimulatorConfig) -> LogTracks:
    """The tracks of a log that are valid at some step of the simulator.

    Where a step of the simulator coincides with one of the log, the logged state is taken; else the log is
    interpolated, and a state is valid where both neighbours are.
    """
    count = num_log_steps(log, config)
    log_step = np.arange(count) * (config.timestep_s / log.timestep_s)
    nearest = np.round(log_step)
    exact = np.abs(log_step - nearest) < 1e-4
    low = np.where(exact, nearest, np.floor(log_step)).astype(int)
    high = np.minimum(np.where(exact, low, low + 1), log.num_steps - 1)
    weight = np.where(exact, 0.0, log_step - low).astype(np.float32)

    def between(values: np.ndarray) -> np.ndarray:
        share = weight.reshape(-1, *[1] * (values.ndim - 2))
        return values[:, low] + share * (values[:, high] - values[:, low])

    turn = wrapped(log.yaw[:, high] - log.yaw[:, low]).astype(np.float32)
    yaw = np.where(exact, log.yaw[:, low], log.yaw[:, low] + weight * turn).astype(np.float32)
    valid = log.valid[:, low] & log.valid[:, high]
    tracks = LogTracks(
        number=np.arange(log.num_tracks),
        position=between(log.position).astype(np.float32),
        yaw=yaw,
        speed=between(log.speed).astype(np.float32),
        valid=valid,
        light_state=log.light_state[:, low],
    )
    return _held(tracks.take(valid.any(axis=1)))


def _held(tracks: LogTracks) -> LogTracks:
    """The tracks with every state that is not valid replaced by the last valid one before it, else the first after."""
    steps = np.arange(tracks.valid.shape[1])
    last = np.maximum.accumulate(np.where(tracks.valid, steps, -1), axis=1)
    source = np.where(last >= 0, last, tracks.valid.argmax(axis=1)[:, None])
    rows = np.arange(len(source))[:, None]
    names = ("position", "yaw", "speed")
    return replace(tracks, **{name: getattr(tracks, name)[rows, source] for name in names})


def chosen_tracks(log: TrafficLog, tracks: LogTracks, most: int, warn: bool) -> LogTracks:
    """Up to ``most`` tracks: the ego, then moving tracks before parked ones, those that came nearest to the ego first
    (to the middle of the moving tracks, where the log names no ego). ``warn`` logs the names of the others."""
    is_ego = tracks.number == log.ego_track
    still = parked_tracks(tracks.position, tracks.valid)
    if is_ego.any():
        centre = tracks.position[is_ego][0]
    else:
        centre = tracks.position[~still if (~still).any() else still].mean(axis=(0, 1))
    apart = np.linalg.norm(tracks.position[..., :2] - centre[..., :2], axis=2)
    near = np.where(tracks.valid, apart, np.inf).min(axis=1)
    order = np.lexsort((near, still, ~is_ego))
    if len(order) > most and warn:
        names = ", ".join(str(log.track_ids[number]) for number in tracks.number[order[most:]])
        _log.warning(
            "scene %s: %d tracks for %d agents; left out (farthest and parked ones): %s",
            log.name, len(order), most, names,
        )  # fmt: skip
    return tracks.take(order[:most])


def for_agents(values: np.ndarray, agents: int, value: float) -> np.ndarray:
    """Rows [tracks, ...] padded to [agents, ...] with ``value``."""
    padding = np.full((agents - len(values), *values.shape[1:]), value, values.dtype)
    return np.concatenate([values, padding])


def padded_log(tracks: LogTracks, agents: int, steps: int | None, stops: int | None) -> LogReplay:
    """The log padded to ``agents``, ``steps`` and ``stops`` (at least one); None for as many as there are. Leaves are
    numpy arrays.

    In the padding the last states hold and lights are off; it is not read, since steps end at ``last_step``.
    """
    count = tracks.valid.shape[1]
    more_steps = (steps or count) - count
    more_stops = max(stops or len(tracks.light_state), 1) - len(tracks.light_state)

    def grow(values: np.ndarray) -> np.ndarray:
        rows = for_agents(values, agents, 0)
        return np.concatenate([rows, np.repeat(rows[:, -1:], more_steps, axis=1)], axis=1)

    lights = np.pad(tracks.light_state, ((0, more_stops), (0, more_steps))).astype(np.int32)
    fields: dict[str, Any] = {
        "position": grow(tracks.position),
        "yaw": grow(tracks.yaw),
        "speed": grow(tracks.speed),
        "valid": grow(tracks.valid),
        "light_state": lights,
        "last_step": np.int32(count - 1),
    }
    return LogReplay(**fields)
