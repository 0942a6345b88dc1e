"""The metrics of a sweep, from a recorded rollout."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Bool, Float

from simulator.conventions import STANDSTILL_MPS
from simulator.metrics.summary import summarise
from simulator.state import WorldState
from teacher.sweep.behaviour import Behaviour

Row = dict[str, float | None]

MOVES_MPS = 1.0
"""Gaps, clearances and angles are taken from agents that are at least this fast: in a queue others determine them."""

BEHAVIOURS: dict[str, str] = {
    "speed_mps": "mean speed, m/s",
    "moving_speed_mps": "mean speed while moving, m/s",
    "excess_mps": "mean speed above the limit, m/s",
    "standing_share": "share of the time standing",
    "backing_share": "share of the time going backwards",
    "gap_m": "mean gap to the car ahead while moving, m",
    "gap_p10_m": "10th percentile of the gap to the car ahead while moving, m",
    "headway_s": "mean time headway to the car ahead while moving, s",
    "headway_p10_s": "10th percentile of the time headway, s",
    "clearance_p05_m": "5th percentile of the distance to the nearest other, m",
    "least_clearance_m": "median over agents of their least distance to others, m",
    "offset_m": "mean distance from the middle of the lane, m",
    "side_m": "mean offset from the middle of the lane, left positive, m",
    "angle_deg": "mean angle to the lane per metre driven, degrees",
    "angle_std_deg": "standard deviation of the heading against the lane, degrees",
    "edge_room_p05_m": "5th percentile of the room to the road's edge, m",
    "acceleration_mps2": "mean |acceleration|, m/s2",
    "lateral_mps2": "mean |lateral acceleration|, m/s2",
    "hard_share": "accelerations above 3 m/s2, per step",
    "comfort_rate": "share of the time within comfort limits",
    "collision_rate": "agents that collided",
    "offroad_rate": "agents that left the road",
    "red_run_share": "share of red lights met that were run",
    "stop_sign_rate": "agents that passed a stop sign without a halt",
    "progress": "mean route progress",
    "goal_rate": "agents that reached every goal",
}
"""The metrics of a row, with their descriptions."""


def metrics_row(seen: Behaviour, final: WorldState) -> Row:
    """Metrics of one rollout; None where no step contributes. Leaves of ``seen`` are numpy arrays."""
    drives = seen.drives
    moves = drives & (np.abs(seen.speed) > MOVES_MPS)
    follows = moves & np.isfinite(seen.gap_m)
    headway = seen.gap_m[follows] / seen.speed[follows].clip(MOVES_MPS)
    near = moves & np.isfinite(seen.clearance_m)
    angle = np.degrees(seen.angle[moves])
    hard = (np.abs(seen.acceleration) > 3.0) * 1.0 + (np.abs(seen.lateral_acceleration) > 3.0)
    metrics = summarise(final, int(drives.sum()), 0.0)
    return {
        "speed_mps": _mean(seen.speed[drives]),
        "moving_speed_mps": _mean(seen.speed[moves]),
        "excess_mps": _mean(np.maximum(seen.speed - seen.limit, 0.0)[drives]),
        "standing_share": _mean(np.abs(seen.speed[drives]) < STANDSTILL_MPS),
        "backing_share": _mean(seen.speed[drives] < -STANDSTILL_MPS),
        "gap_m": _mean(seen.gap_m[follows]),
        "gap_p10_m": _percentile(seen.gap_m[follows], 10),
        "headway_s": _mean(headway),
        "headway_p10_s": _percentile(headway, 10),
        "clearance_p05_m": _percentile(seen.clearance_m[near], 5),
        "least_clearance_m": _percentile(_least(seen.clearance_m, near), 50),
        "offset_m": _mean(np.abs(seen.offset_m[drives])),
        "side_m": _mean(seen.offset_m[drives]),
        "angle_deg": _weighted(np.abs(angle), np.abs(seen.speed[moves])),
        "angle_std_deg": float(angle.std()) if angle.size else None,
        "edge_room_p05_m": _percentile(seen.edge_room_m[moves], 5),
        "acceleration_mps2": _mean(np.abs(seen.acceleration[drives])),
        "lateral_mps2": _mean(np.abs(seen.lateral_acceleration[drives])),
        "hard_share": _mean(hard[drives]),
        "comfort_rate": metrics.comfort_rate,
        "collision_rate": metrics.collision_rate,
        "offroad_rate": metrics.offroad_rate,
        "red_run_share": red_run_share(seen, final),
        "stop_sign_rate": metrics.stop_sign_rate,
        "progress": metrics.progress,
        "goal_rate": metrics.goal_rate,
    }


def metrics_rows_of_parts(seen: Behaviour, final: WorldState, parts: int) -> list[Row]:
    """`metrics_row` of each of ``parts`` subsets of the worlds (at most one per world), for standard errors."""
    worlds = seen.speed.shape[1]
    chosen = np.array_split(np.arange(worlds), min(parts, worlds))
    return [
        metrics_row(
            Behaviour(*(leaf[:, part] for leaf in seen)),
            jax.tree.map(lambda leaf, part=part: np.asarray(leaf)[part], final),
        )
        for part in chosen
    ]


def red_run_share(seen: Behaviour, final: WorldState) -> float | None:
    """Red lights run over red lights met; an agent meets each line at most once in an episode. None without any."""
    lines = np.where(seen.drives, seen.red_line, -1).reshape(len(seen.speed), -1)
    met = sum(len(np.unique(column[column >= 0])) for column in lines.T)
    ran = int(np.asarray(final.red_lights)[np.asarray(final.spawned)].sum())
    return ran / met if met else None


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean(dtype=np.float64)) if values.size else None


def _weighted(values: np.ndarray, weights: np.ndarray) -> float | None:
    return float(np.average(values, weights=weights)) if values.size else None


def _percentile(values: np.ndarray, percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values.size else None


def _least(
    values: Float[np.ndarray, "steps worlds agents"], counts: Bool[np.ndarray, "steps worlds agents"]
) -> Float[np.ndarray, " some"]:
    """The minimum over time of each agent with a step that counts."""
    least = np.where(counts, values, np.inf).min(axis=0)
    return least[np.isfinite(least)]
