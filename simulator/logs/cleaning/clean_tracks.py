"""Clean raw tracks: duplicates, units of headings, sizes, heights, jumps and contradicting velocities.

Every rule counts its corrections in a `Repairs`, which is stored with the log. What no rule can correct is refused by
`TrafficLog.validate`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from simulator.conventions import CAR, CYCLIST, PEDESTRIAN, TRUCK
from simulator.logs.cleaning.headings import normalise_headings
from simulator.logs.cleaning.stationary import freeze_stationary, trim_small_overlaps
from simulator.logs.cleaning.trailers import separate_trailers
from simulator.logs.raw_tracks import LARGEST_M, RawTracks
from simulator.logs.traffic_log import MAX_SPEED_MPS, RATE_RANGE, jumps, rate_ratio
from simulator.roads.building.repairs import Repairs

PADDING_M = -10000.0
"""Waymo's converters write exactly this for x and y of states without an observation."""
FARTHEST_M = 10_000.0
"""Nothing in a log of a minute or less is farther than this from the rest of it."""
WIDEST_M = 3.0
"""No vehicle that is allowed on a road is wider (2.55 m and mirrors); a larger "width" is a length."""
SIZE_BY_KIND = {
    CAR: (4.6, 2.0, 1.6),
    TRUCK: (8.4, 2.9, 3.1),
    CYCLIST: (1.8, 0.7, 1.7),
    PEDESTRIAN: (0.8, 0.8, 1.7),
}
"""Length, width and height (m) of a body whose source does not give them: medians of Waymo, nuScenes and Argoverse logs
(84 scenes, 4853 tracks), rounded; the height of a cyclist includes the rider."""
CONTRADICTION_MPS, CONTRADICTION_SHARE = 3.0, 0.2
"""A velocity that differs by more than CONTRADICTION_MPS + CONTRADICTION_SHARE * speed from the differences of
positions is wrong: annotation noise of 15 cm per step makes 3 m/s."""
LEAST_PART_STEPS = 3
"""Shorter parts between two jumps are outliers."""
SAME_BOX_M = 0.5
"""Two boxes at one step are the same box when their centres are at most this far apart."""
DUPLICATE_STEPS = 3
"""Tracks can be duplicates only when both are observed at this many steps."""


def clean_tracks(
    tracks: RawTracks, timestep_s: float | int, repairs: Repairs
) -> tuple[RawTracks, np.ndarray]:
    """Tracks that a `TrafficLog` accepts, and their signed speed [tracks, steps] along the heading (m/s)."""
    _hide_broken_states(tracks, repairs)
    tracks = _merge_equal_ids(tracks, repairs)
    tracks = _drop_empty_tracks(tracks, repairs)
    tracks = _merge_duplicate_vehicles(tracks, repairs)
    normalise_headings(tracks, timestep_s, repairs)
    complete_sizes(tracks, repairs)
    fill_missing_heights(tracks, repairs)
    separate_trailers(tracks, repairs)
    tracks, speed = cut_at_jumps(tracks, timestep_s, repairs)
    stationary = freeze_stationary(tracks, speed, repairs)
    trim_small_overlaps(tracks, stationary, repairs)
    return tracks, speed


def _hide_broken_states(tracks: RawTracks, repairs: Repairs) -> None:
    """Padded states and states with NaN become invalid."""
    padded = (tracks.position[..., :2] == PADDING_M).all(axis=2)
    repairs.add("padded -10000 states made invalid", padded.sum())
    tracks.valid = tracks.valid & ~padded
    finite = np.isfinite(tracks.position[..., :2]).all(axis=2) & np.isfinite(tracks.yaw)
    repairs.add("states with NaN made invalid", (tracks.valid & ~finite).sum())
    tracks.valid = tracks.valid & finite
    far = _far_states(tracks)
    repairs.add(f"states farther than {FARTHEST_M / 1000:g} km from the others made invalid", far.sum())
    tracks.valid = tracks.valid & ~far
    tracks.position = np.where(tracks.valid[..., None], tracks.position, 0.0)
    tracks.yaw = np.where(tracks.valid, tracks.yaw, 0.0)


def _far_states(tracks: RawTracks) -> Bool[np.ndarray, "tracks steps"]:
    """Valid states farther than FARTHEST_M from the median position along some axis."""
    seen = tracks.position[tracks.valid]
    known = np.where(np.isfinite(seen), seen, 0.0)
    if not len(known) or (known.max(axis=0) - known.min(axis=0) <= FARTHEST_M).all():
        return np.zeros(tracks.valid.shape, bool)
    apart = np.abs(tracks.position - np.median(known, axis=0))
    return tracks.valid & (apart > FARTHEST_M).any(axis=2)


def _merge_equal_ids(tracks: RawTracks, repairs: Repairs) -> RawTracks:
    """Tracks that share an identifier become one track.

    Where both have a state at the same step, the first one's is kept if the boxes lie within SAME_BOX_M; otherwise it
    is unknown which one is right, and the step becomes invalid.
    """
    first: dict[str, int] = {}
    spare = np.zeros(len(tracks.ids), bool)
    for row, name in enumerate(tracks.ids):
        if name not in first:
            first[name] = row
            continue
        equal, contradicting = _merge_into(tracks, first[name], row)
        repairs.add("duplicated states dropped", equal)
        repairs.add("contradicting duplicated states made invalid", contradicting)
        spare[row] = True
    repairs.add("tracks with a duplicated identifier joined", spare.sum())
    return tracks.keep(~spare)


def _merge_into(tracks: RawTracks, here: int, there: int) -> tuple[int, int]:
    """Fill the gaps of track `here` with the states of track `there`, in place; the numbers of steps at which both
    have a state and agree, and contradict each other."""
    both = tracks.valid[here] & tracks.valid[there]
    apart = np.linalg.norm(tracks.position[here, :, :2] - tracks.position[there, :, :2], axis=1)
    contradicting = both & (apart > SAME_BOX_M)
    fill = tracks.valid[there] & ~tracks.valid[here]
    for part in ("position", "yaw", "velocity"):
        array = getattr(tracks, part)
        if array is not None:
            array[here, fill] = array[there, fill]
    tracks.valid[here] = (tracks.valid[here] | fill) & ~contradicting
    return int((both & ~contradicting).sum()), int(contradicting.sum())


def _merge_duplicate_vehicles(tracks: RawTracks, repairs: Repairs) -> RawTracks:
    """Merge vehicles of the same kind that are never farther apart than SAME_BOX_M.

    Pedestrians walk that close to each other, vehicles do not drive so. The track with more valid states keeps its
    name.
    """
    order = np.argsort(-tracks.valid.sum(axis=1), kind="stable")
    vehicles = [int(row) for row in order if tracks.kind[row] in (CAR, TRUCK)]
    spare = np.zeros(len(tracks.ids), bool)
    for rank, here in enumerate(vehicles):
        rest = np.array(vehicles[rank + 1 :], int)
        if spare[here] or not len(rest):
            continue
        both = tracks.valid[rest] & tracks.valid[here]
        apart = np.linalg.norm(tracks.position[rest, :, :2] - tracks.position[here, :, :2], axis=2)
        near = np.where(both, apart, 0.0).max(axis=1) <= SAME_BOX_M
        duplicate = (
            near
            & (both.sum(axis=1) >= DUPLICATE_STEPS)
            & (tracks.kind[rest] == tracks.kind[here])
            & ~spare[rest]
        )
        for there in rest[duplicate]:
            _merge_into(tracks, here, int(there))
            spare[there] = True
    repairs.add("vehicles described twice joined", spare.sum())
    return tracks.keep(~spare)


def _drop_empty_tracks(tracks: RawTracks, repairs: Repairs) -> RawTracks:
    seen = np.asarray(tracks.valid.any(axis=1))
    repairs.add("tracks without a valid state left out", (~seen).sum())
    return tracks.keep(seen)


def complete_sizes(tracks: RawTracks, repairs: Repairs) -> None:
    """Exchange length and width where they are swapped, and take missing and impossible sizes from SIZE_BY_KIND, in
    place."""
    impossible = tracks.size > LARGEST_M
    repairs.add(f"sizes of more than {LARGEST_M:g} m taken as missing", impossible.sum())
    tracks.size[impossible] = np.nan
    vehicle = np.isin(tracks.kind, (CAR, TRUCK))
    swapped = vehicle & (tracks.size[:, 1] > WIDEST_M) & (tracks.size[:, 0] < tracks.size[:, 1])
    tracks.size[swapped, :2] = tracks.size[swapped, 1::-1]
    repairs.add("length and width changed places", swapped.sum())
    usual = np.array([SIZE_BY_KIND[int(kind)] for kind in tracks.kind]).reshape(-1, 3)
    for side, name in enumerate(("length", "width", "height")):
        missing = ~(tracks.size[:, side] > 0)
        tracks.size[missing, side] = usual[missing, side]
        repairs.add(f"missing {name} by kind", missing.sum())


def fill_missing_heights(tracks: RawTracks, repairs: Repairs) -> None:
    """Set ground heights that the source does not have to 0, in place."""
    flat = tracks.valid & ~np.isfinite(tracks.position[..., 2])
    repairs.add("tracks without height put at z = 0", flat.any(axis=1).sum())
    tracks.position[..., 2] = np.where(np.isfinite(tracks.position[..., 2]), tracks.position[..., 2], 0.0)


def cut_at_jumps(
    tracks: RawTracks, timestep_s: float | int, repairs: Repairs
) -> tuple[RawTracks, np.ndarray]:
    """Tracks split at jumps, and their signed speed [tracks, steps], m/s.

    The part after a jump is a track of its own, `<id>/2` and so on; parts shorter than LEAST_PART_STEPS become invalid.
    """
    speed = speeds(tracks, timestep_s)
    too_fast = tracks.valid & (np.abs(speed) > MAX_SPEED_MPS)
    repairs.add("states faster than any car made invalid", too_fast.sum())
    tracks.valid = tracks.valid & ~too_fast
    parts: list[tuple[int, str, np.ndarray]] = []
    # Most sources derive velocities from positions, so that a jump comes with a speed that explains it.
    jumped = jumps(tracks.position, speed, tracks.valid, timestep_s)
    jumped |= jumps(tracks.position, None, tracks.valid, timestep_s)
    for row, name in enumerate(tracks.ids):
        part = np.cumsum(jumped[row])
        repairs.add("tracks cut at a jump", part[-1])
        for number in range(part[-1] + 1):
            seen = tracks.valid[row] & (part == number)
            if part[-1] and seen.sum() < LEAST_PART_STEPS:
                repairs.add("states between jumps made invalid", seen.sum())
            elif seen.any():
                parts.append((row, name if number == 0 else f"{name}/{number + 1}", seen))
    rows = np.array([row for row, _, _ in parts], int)
    cut = tracks.keep(rows)
    cut.ids = [name for _, name, _ in parts]
    cut.valid = np.array([seen for _, _, seen in parts], bool).reshape(len(parts), tracks.valid.shape[1])
    replace_contradicting_velocities(cut, timestep_s, repairs)
    return cut, speeds(cut, timestep_s)


def replace_contradicting_velocities(tracks: RawTracks, timestep_s: float | int, repairs: Repairs) -> None:
    """Replace velocities that contradict the positions by differences of positions, in place."""
    if tracks.velocity is None or not _time_step_fits(tracks, timestep_s):
        return  # where all contradict, the time step is wrong, which `TrafficLog.validate` refuses
    moved = differences(tracks.position[..., :2], tracks.valid, float(timestep_s))
    apart = np.linalg.norm(tracks.velocity - moved, axis=2)
    limit = CONTRADICTION_MPS + CONTRADICTION_SHARE * np.linalg.norm(moved, axis=2)
    wrong = tracks.valid & (apart > limit) & (tracks.valid.sum(axis=1) > 1)[:, None]
    tracks.velocity = np.where(wrong[..., None], moved, tracks.velocity)
    repairs.add("velocities that contradict positions replaced", wrong.sum())


def _time_step_fits(tracks: RawTracks, timestep_s: float | int) -> bool:
    """Whether velocities and positions agree, on average, on the length of a step."""
    ratio = rate_ratio(tracks.position, speeds(tracks, timestep_s), tracks.valid, timestep_s)
    return ratio is None or RATE_RANGE[0] <= ratio <= RATE_RANGE[1]


def speeds(tracks: RawTracks, timestep_s: float | int) -> np.ndarray:
    """Signed speed along the heading [tracks, steps], m/s: from the source's velocity, else from differences of
    positions."""
    velocity = differences(tracks.position[..., :2], tracks.valid, float(timestep_s))
    if tracks.velocity is not None:
        given = np.isfinite(tracks.velocity).all(axis=2, keepdims=True)
        velocity = np.where(given, tracks.velocity, velocity)
    ahead = np.stack([np.cos(tracks.yaw), np.sin(tracks.yaw)], axis=-1)
    return np.where(tracks.valid, (velocity * ahead).sum(axis=-1), 0.0)


def differences(
    xy: Float[np.ndarray, "tracks steps 2"], valid: Bool[np.ndarray, "tracks steps"], timestep_s: float | int
) -> Float[np.ndarray, "tracks steps 2"]:
    """Velocity from differences of positions, central over valid states, m/s; zero for a track with one valid state."""
    result = np.zeros(xy.shape)
    for track in range(len(xy)):
        steps = np.flatnonzero(valid[track])
        if len(steps) > 1:
            result[track, steps] = np.gradient(xy[track, steps], steps * float(timestep_s), axis=0)
    return result
