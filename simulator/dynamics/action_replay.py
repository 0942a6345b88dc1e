"""How well action models reproduce logged vehicles: the share of time within 0.3 m of the log.

Every vehicle is driven closed loop through a model's actions (`simulator.dynamics.log_to_actions`); where its record
has a gap it is put back on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from simulator.conventions import TRUCK
from simulator.dynamics.action_model import action_model
from simulator.dynamics.log_to_actions import actions_of_track
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import TrafficLog

MODELS = ("steering_rate_continuous", "steering_rate", "jerk", "trajectory")
NEAR_M = 0.3
MOVES_M = 3.0
"""A vehicle moves if its first and last positions are farther apart than this."""
_STEPS, _VEHICLES = 100, 64
"""Steps are padded to a multiple of this, vehicles to a power of two from this on: few sizes are compiled."""


def distances_to_log(log: TrafficLog, model: str) -> tuple[Float[np.ndarray, "vehicles steps"], np.ndarray]:
    """Metres between the vehicles of a log and where a model's actions lead them, NaN where the log has no state; and
    which tracks they are."""
    pairs = (log.valid[:, 1:] & log.valid[:, :-1]).any(axis=1)
    rows = np.flatnonzero((log.kind <= TRUCK) & pairs)
    arrays = (log.position, log.yaw, log.speed, log.valid)
    fill = -log.num_steps % _STEPS
    spare = (1 << max(len(rows) - 1, _VEHICLES - 1).bit_length()) - len(rows)
    padded = [np.pad(a[rows], [(0, spare), (0, fill)] + [(0, 0)] * (a.ndim - 2)) for a in arrays]
    size = np.pad(log.size[rows], [(0, spare), (0, 0)])
    pose = _follow(*padded, size, model=model, step_s=log.timestep_s)
    pose = np.asarray(pose)[: len(rows), : log.num_steps, :2]
    apart = np.linalg.norm(pose - log.position[rows, :, :2], axis=-1)
    return np.where(log.valid[rows], apart, np.nan), rows


@partial(jax.jit, static_argnames=("model", "step_s"))
def _follow(
    position: jax.Array,
    yaw: jax.Array,
    speed: jax.Array,
    valid: jax.Array,
    size: jax.Array,
    model: str,
    step_s: float,
) -> jax.Array:
    one = partial(actions_of_track, action_model(model), timestep_s=step_s)
    return jax.vmap(one)(position, yaw, speed, valid, jnp.maximum(size, 0.5)).pose


def moving(log: TrafficLog, rows: np.ndarray) -> Bool[np.ndarray, " vehicles"]:
    """Which of these tracks move by more than MOVES_M."""
    ends = [log.position[row, log.valid[row], :2][[0, -1]] for row in rows]
    return np.array([np.linalg.norm(last - first) > MOVES_M for first, last in ends], bool)


def action_lines(scenes: Sequence[LoggedScene]) -> list[str]:
    """Shares per source and model, as lines of text."""
    lines = []
    for source in dict.fromkeys(scene.log.source for scene in scenes):
        logs = [scene.log for scene in scenes if scene.log.source == source]
        lines.append(
            f"{source}: share of vehicle-seconds within {NEAR_M:g} m of the log (of vehicles that move)"
        )
        for model in MODELS:
            followed = [(log, *distances_to_log(log, model)) for log in logs]
            every = _near_share([apart for _, apart, _ in followed])
            some = _near_share([apart[moving(log, rows)] for log, apart, rows in followed])
            lines.append(f"  {every:7.1%} ({some:.1%})  {model}")
    return lines


def _near_share(apart: Sequence[Float[np.ndarray, "_ _"]]) -> float:
    metres = np.concatenate([one[np.isfinite(one)] for one in apart])
    return float(np.mean(metres < NEAR_M)) if len(metres) else float("nan")
