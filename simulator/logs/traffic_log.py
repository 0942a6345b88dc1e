"""`TrafficLog`: the tracks and light states of ONE logged scene, on the host, in the frame of the scene's road map.

Positions are relative to `origin`, a point in the frame of the source, so that float32 resolves millimetres. Importers
correct what they can and count it (`repairs`); `validate` refuses the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from simulator.conventions import KIND_NAMES, RED

LONGEST_STEP_S = 1.0
"""Logs with less than one state per second are refused: motion between states would be unknown."""
MAX_SPEED_MPS = 70.0
"""250 km/h; faster states are refused."""
MAX_ACCELERATION_MPS2 = 15.0
"""1.5 times the limit of tyres on a dry road."""
JITTER_M = 1.5
"""Annotation noise between the positions of two boxes: half the position error of a car seen from behind."""
PARKED_M, PARKED_SHARE = 1.0, 0.9
"""A road user is parked when it is within PARKED_M of one position for at least PARKED_SHARE of its valid states."""
MOVING_MPS = 2.0
"""Only states faster than this are used to check the rate of a log: slower ones are dominated by noise."""
RATE_STATES = 50
"""Least number of moving states with which the rate of a log is checked."""
RATE_RANGE = (0.67, 1.5)
"""Accepted ratio of the distance driven to speed times time, over the whole log."""


@dataclass(frozen=True)
class TrafficLog:
    """One scene. States that are not valid are zero."""

    name: str
    source: str  # "womd", "nuscenes", "av2" or "py123d:<dataset>"
    source_file: str  # file name the scene was imported from
    source_sha256: str  # of the file's bytes as read
    importer: str  # importer and reader versions
    origin: np.ndarray  # [3] f64, m, origin of this scene in the frame of the source
    timestep_s: float
    track_ids: np.ndarray  # [tracks] str, identifiers of the source, unique
    kind: np.ndarray  # [tracks] i32, index into KIND_NAMES
    size: np.ndarray  # [tracks, 3] f32, m: length, width, height
    position: np.ndarray  # [tracks, steps, 3] f32, m: centre of the box, at ground height
    yaw: np.ndarray  # [tracks, steps] f32, rad, counter-clockwise from +x, in (-pi, pi]
    speed: np.ndarray  # [tracks, steps] f32, m/s, along the heading, negative in reverse
    valid: np.ndarray  # [tracks, steps] bool
    ego_track: int  # track of the ego (SDC), -1 where the source does not name it
    light_state: np.ndarray  # [stops, steps] i32, OFF, GREEN, YELLOW or RED per stop line of the road map
    repairs: np.ndarray  # [n] str, "<correction>: <count>"

    @property
    def num_tracks(self) -> int:
        """Number of tracks."""
        return len(self.track_ids)

    @property
    def num_steps(self) -> int:
        """Number of time steps."""
        return self.valid.shape[1]

    def validate(self) -> TrafficLog:
        """This log. Raises ValueError, which names field and value, for a wrong shape or type, a value out of range
        or an impossible motion."""
        _check_shapes(self)
        _check_tracks(self)
        _check_states(self)
        _check_motion(self)
        return self


def jumps(
    position: Float[np.ndarray, "tracks steps 3"],
    speed: Float[np.ndarray, "tracks steps"] | None,
    valid: Bool[np.ndarray, "tracks steps"],
    timestep_s: float | int,
) -> Bool[np.ndarray, "tracks steps"]:
    """States that cannot be reached from the previous valid state of their track.

    In t seconds a vehicle travels at most v t + a t^2 / 2 + JITTER_M, with v the larger of the speeds at both ends
    (at most MAX_SPEED_MPS) and a = MAX_ACCELERATION_MPS2. Without `speed`, v is the smaller of the mean speeds over
    the gaps before and after, so that a jump does not explain itself. Our choice.
    """
    result = np.zeros(valid.shape, bool)
    for track in np.flatnonzero(valid.sum(axis=1) > 1):
        steps = np.flatnonzero(valid[track])
        gap_s = np.diff(steps) * float(timestep_s)
        apart = np.linalg.norm(np.diff(position[track, steps, :2].astype(np.float64), axis=0), axis=1)
        if speed is None:
            around = np.pad(apart / gap_s, 1, constant_values=np.inf)
            fast = np.minimum(around[:-2], around[2:])
        else:
            either = np.abs(speed[track, steps])
            fast = np.maximum(either[:-1], either[1:])
        reach = np.minimum(fast, MAX_SPEED_MPS) * gap_s + 0.5 * MAX_ACCELERATION_MPS2 * gap_s**2 + JITTER_M
        result[track, steps[1:]] = apart > reach
    return result


def wrapped(angle: Float[np.ndarray, "*shape"] | float) -> Float[np.ndarray, "*shape"]:
    """The same angle (rad) in [-pi, pi], through the complex exponential; stored logs depend on its rounding."""
    return np.asarray(np.angle(np.exp(1j * angle)))


def parked_tracks(
    position: Float[np.ndarray, "tracks steps 3"], valid: Bool[np.ndarray, "tracks steps"]
) -> Bool[np.ndarray, " tracks"]:
    """Tracks that are within PARKED_M of their median position for at least PARKED_SHARE of their valid states."""
    result = np.zeros(len(valid), bool)
    for track in range(len(valid)):
        xy = position[track, valid[track], :2]
        apart = np.linalg.norm(xy - np.median(xy, axis=0), axis=1) if len(xy) else np.zeros(1)
        result[track] = np.mean(apart < PARKED_M) >= PARKED_SHARE
    return result


def _refuse(log: TrafficLog, what: str) -> ValueError:
    return ValueError(f"{log.source_file}: scene {log.name}: {what}")


_SHAPES = {  # axes and type of each array
    "origin": (("3",), np.float64), "kind": (("tracks",), np.int32), "size": (("tracks", "3"), np.float32),
    "position": (("tracks", "steps", "3"), np.float32), "yaw": (("tracks", "steps"), np.float32),
    "speed": (("tracks", "steps"), np.float32), "valid": (("tracks", "steps"), np.bool_),
    "light_state": (("stops", "steps"), np.int32),
}  # fmt: skip


def _check_shapes(log: TrafficLog) -> None:
    """Check types and shapes; the numbers of steps and tracks are those of `valid` and `track_ids`."""
    if log.valid.ndim != 2 or log.valid.shape[1] < 2:
        raise _refuse(
            log, f"valid has shape {log.valid.shape}; expected [tracks, steps] with 2 steps or more"
        )
    axes = {"tracks": len(log.track_ids), "steps": log.valid.shape[1], "3": 3, "stops": len(log.light_state)}
    for name, (expected, dtype) in _SHAPES.items():
        value = getattr(log, name)
        if value.dtype != dtype:
            raise _refuse(log, f"{name} has type {value.dtype}; expected {np.dtype(dtype).name}")
        shape = tuple(axes[axis] for axis in expected)
        if value.shape != shape:
            raise _refuse(log, f"{name} has shape {value.shape}; expected {shape} ({', '.join(expected)})")
    for name in ("track_ids", "repairs"):
        if getattr(log, name).dtype.kind != "U" or getattr(log, name).ndim != 1:
            raise _refuse(log, f"{name} is not a list of text; expected an array of strings")
    if not 0 < log.timestep_s <= LONGEST_STEP_S:
        raise _refuse(
            log, f"timestep_s is {log.timestep_s}; expected more than 0 and at most {LONGEST_STEP_S:g} s"
        )


def _check_tracks(log: TrafficLog) -> None:
    if log.num_tracks == 0:
        raise _refuse(log, "track_ids is empty; expected at least one track")
    names, counts = np.unique(log.track_ids, return_counts=True)
    if counts.max() > 1:
        repeated = names[np.argmax(counts)]
        raise _refuse(
            log, f"track_ids holds {str(repeated)!r} {counts.max()} times; expected each track once"
        )
    if not -1 <= log.ego_track < log.num_tracks:
        raise _refuse(
            log, f"ego_track is {log.ego_track}; expected -1 (unknown) to {log.num_tracks - 1}, a track"
        )
    for name, value, greatest in (
        ("kind", log.kind, len(KIND_NAMES) - 1),
        ("light_state", log.light_state, RED),
    ):
        outside = (value < 0) | (value > greatest)
        if outside.any():
            raise _refuse(log, f"{name} holds {value[outside][0]}; expected 0 to {greatest}")
    wrong = ~(np.isfinite(log.size) & (log.size > 0)).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise _refuse(log, f"size[{row}] is {log.size[row].tolist()}; expected three positive lengths in m")


def _check_states(log: TrafficLog) -> None:
    if not np.isfinite(log.origin).all():
        raise _refuse(log, f"origin is {log.origin.tolist()}; expected finite numbers")
    for name in ("position", "yaw", "speed"):
        value = getattr(log, name)
        broken = log.valid & ~np.isfinite(value).reshape(*log.valid.shape, -1).all(axis=2)
        if broken.any():
            track, step = np.argwhere(broken)[0]
            found = value[track, step].tolist()
            raise _refuse(
                log, f"{name}[{track}, {step}] is {found}; expected finite numbers where valid is true"
            )
    turned = np.abs(np.where(log.valid, log.yaw, 0.0))
    if turned.max() > 2 * np.pi:
        track, step = np.unravel_index(np.argmax(turned), turned.shape)
        raise _refuse(
            log, f"yaw[{track}, {step}] is {log.yaw[track, step]:.1f}, as if in degrees; expected radians, "
            "at most 2 pi"
        )  # fmt: skip
    if not log.valid.any(axis=1).all():
        track = int(np.flatnonzero(~log.valid.any(axis=1))[0])
        raise _refuse(
            log, f"valid[{track}] is false at every step; expected a track to be seen at least once"
        )


def _check_motion(log: TrafficLog) -> None:
    fast = np.abs(np.where(log.valid, log.speed, 0.0))
    if fast.max() > MAX_SPEED_MPS:
        track, step = np.unravel_index(np.argmax(fast), fast.shape)
        raise _refuse(
            log,
            f"speed[{track}, {step}] is {log.speed[track, step]:.1f} m/s; expected at most {MAX_SPEED_MPS:g}",
        )
    ratio = rate_ratio(log.position, log.speed, log.valid, log.timestep_s)
    if ratio is not None and not RATE_RANGE[0] <= ratio <= RATE_RANGE[1]:
        raise _refuse(
            log, f"timestep_s is {log.timestep_s:g}, but tracks cover {ratio:.2f} of speed times time; "
            f"expected {RATE_RANGE[0]:g} to {RATE_RANGE[1]:g}"
        )  # fmt: skip
    jumped = jumps(log.position, log.speed, log.valid, log.timestep_s)
    if jumped.any():
        track, step = np.argwhere(jumped)[0]
        before = np.flatnonzero(log.valid[track, :step])[-1]
        apart = float(np.linalg.norm(log.position[track, step, :2] - log.position[track, before, :2]))
        raise _refuse(
            log, f"position[{track}, {step}] lies {apart:.1f} m from step {before}; "
            f"expected a move that {abs(float(log.speed[track, step])):.1f} m/s can explain"
        )  # fmt: skip


def rate_ratio(
    position: Float[np.ndarray, "tracks steps 3"],
    speed: Float[np.ndarray, "tracks steps"],
    valid: Bool[np.ndarray, "tracks steps"],
    timestep_s: float | int,
) -> float | None:
    """Ratio of distance travelled to speed times time: about 1 when `timestep_s` is the true length of a step.

    None where fewer than RATE_STATES states are moving.
    """
    both = valid[:, 1:] & valid[:, :-1]
    mean = np.abs(speed[:, 1:] + speed[:, :-1]) / 2
    moving = both & (mean > MOVING_MPS)
    if moving.sum() < RATE_STATES:
        return None
    apart = np.linalg.norm(np.diff(position[..., :2].astype(np.float64), axis=1), axis=2)
    return float(apart[moving].sum() / (mean[moving].sum() * float(timestep_s)))


def repair_counts(log: TrafficLog) -> dict[str, int]:
    """The count of each correction by name, in the order of `repairs`."""
    result: dict[str, int] = {}
    for line in log.repairs:
        name, _, count = str(line).rpartition(": ")
        result[name] = result.get(name, 0) + int(count)
    return result
