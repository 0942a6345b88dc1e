"""The tracks of a recorded scene at the simulator's step: what a world replays, and where its drivers start from.

On the host. Where a step of the simulator is one of the log, states are the log's to the bit; else they lie between
two of its states. A scene with more tracks than agents keeps the nearest ones.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.config import SimulatorConfig
from simulator.logs.traffic_log import TrafficLog, parked_tracks, wrapped
from simulator.state import Logged

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggedTracks:
    """Tracks of a scene at the simulator's step, from the start of the episode on, in the frame of its `TrafficLog`.

    Every track is valid at some step; where it is not, its nearest valid state before (else after) is held.
    """

    number: np.ndarray  # [tracks] int: which track of the log
    position: np.ndarray  # [tracks, steps, 3] f32, m: centre of the box, at ground height
    yaw: np.ndarray  # [tracks, steps] f32, rad
    speed: np.ndarray  # [tracks, steps] f32, m/s, signed
    valid: np.ndarray  # [tracks, steps] bool
    light_state: np.ndarray  # [stops, steps] i32, lights.OFF/GREEN/YELLOW/RED

    def take(self, rows: np.ndarray) -> LoggedTracks:
        """These tracks only (indices or a mask)."""
        names = ("number", "position", "yaw", "speed", "valid")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def num_logged_steps(log: TrafficLog, config: SimulatorConfig, start_step: int = 0) -> int:
    """States (the first included) that a log gives an episode that starts at its step ``start_step``."""
    ratio = config.timestep_s / log.timestep_s
    return max(int((log.num_steps - 1 - start_step) / ratio + 1e-6) + 1, 0)


def tracks_at_simulator_steps(log: TrafficLog, config: SimulatorConfig, start_step: int) -> LoggedTracks:
    """The tracks that are seen from ``start_step`` of the log on; others have no row.

    Where a step of the simulator is one of the log, the logged state is taken as it is; else the log is interpolated,
    and a state is valid where both that it lies between are.
    """
    count = num_logged_steps(log, config, start_step)
    place = start_step + np.arange(count) * (config.timestep_s / log.timestep_s)
    nearest = np.round(place)
    exact = np.abs(place - nearest) < 1e-4
    low = np.where(exact, nearest, np.floor(place)).astype(int)
    high = np.minimum(np.where(exact, low, low + 1), log.num_steps - 1)
    weight = np.where(exact, 0.0, place - low).astype(np.float32)

    def between(values: np.ndarray) -> np.ndarray:
        share = weight.reshape(-1, *[1] * (values.ndim - 2))
        return values[:, low] + share * (values[:, high] - values[:, low])

    turn = wrapped(log.yaw[:, high] - log.yaw[:, low]).astype(np.float32)
    yaw = np.where(exact, log.yaw[:, low], log.yaw[:, low] + weight * turn).astype(np.float32)
    valid = log.valid[:, low] & log.valid[:, high]
    tracks = LoggedTracks(
        number=np.arange(log.num_tracks),
        position=between(log.position).astype(np.float32),
        yaw=yaw,
        speed=between(log.speed).astype(np.float32),
        valid=valid,
        light_state=log.light_state[:, low],
    )
    return _held(tracks.take(valid.any(axis=1)))


def _held(tracks: LoggedTracks) -> LoggedTracks:
    """States that are not valid take the last valid ones before them, or the first ones after."""
    steps = np.arange(tracks.valid.shape[1])
    last = np.maximum.accumulate(np.where(tracks.valid, steps, -1), axis=1)
    source = np.where(last >= 0, last, tracks.valid.argmax(axis=1)[:, None])
    rows = np.arange(len(source))[:, None]
    names = ("position", "yaw", "speed")
    return replace(tracks, **{name: getattr(tracks, name)[rows, source] for name in names})


def chosen_tracks(log: TrafficLog, tracks: LoggedTracks, room: int, tell: bool) -> LoggedTracks:
    """The first ``room`` tracks: the recording car, then moving ones before parked ones, those that came nearest to it
    first (to the middle of the moving ones, where the log does not name it). ``tell`` logs the names of the others."""
    is_ego = tracks.number == log.ego_track
    still = parked_tracks(tracks.position, tracks.valid)
    if is_ego.any():
        centre = tracks.position[is_ego][0]
    else:
        centre = tracks.position[~still if (~still).any() else still].mean(axis=(0, 1))
    apart = np.linalg.norm(tracks.position[..., :2] - centre[..., :2], axis=2)
    near = np.where(tracks.valid, apart, np.inf).min(axis=1)
    order = np.lexsort((near, still, ~is_ego))
    if len(order) > room and tell:
        names = ", ".join(str(log.track_ids[number]) for number in tracks.number[order[room:]])
        _log.warning(
            "scene %s: %d tracks for %d agents; left out, parked and farthest first to go: %s",
            log.name, len(order), room, names,
        )  # fmt: skip
    return tracks.take(order[:room])


def for_agents(values: np.ndarray, agents: int, value: float) -> np.ndarray:
    """Rows [tracks, ...] extended to [agents, ...] with ``value``."""
    room = np.full((agents - len(values), *values.shape[1:]), value, values.dtype)
    return np.concatenate([values, room])


def padded_recording(tracks: LoggedTracks, agents: int, steps: int | None, stops: int | None) -> Logged:
    """The recording with room for ``agents``, ``steps`` and ``stops`` (at least one); None is as many as there are.

    Past the end the last states hold and lights are off; nothing looks there, since steps end at ``last_step``.
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
    return Logged(**fields)
