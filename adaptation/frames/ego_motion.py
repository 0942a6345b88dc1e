"""The student's inputs beside the images, for real samples: ego motion, command and conditioning.

The same numbers go to both sides of a pair, so they cannot cause a difference between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from adaptation.frames.camera_frame import CameraSample
from simulator.conventions import NUM_TRAITS
from student.observation import (
    COMMAND_LOOKAHEAD_M,
    command_from_heading_change,
    ego_features,
    one_hot_command,
)

DEFAULT_SPEED_MPS = 8.0
"""Speed where the log gives no pose or no time (ours: an ordinary urban speed)."""
EGO_SIZE_M = (4.6, 1.85, 1.6)
"""Length, width and height of the recording cars, which no file states (ours: an ordinary estate car)."""
MAX_GAP_S = 1.5
"""The speed is not taken from poses further apart in time than this."""
MIN_PATH_STEP_M = 0.5
"""Headings of the future path are taken between points at least this far apart."""


@dataclass(frozen=True)
class EgoInputs:
    """The student's inputs beside the images, for one sample."""

    ego: Float[Tensor, " ego"]  # student.observation.EGO_SCALES order, scaled
    command: Float[Tensor, " commands"]  # one-hot over Command
    conditioning: Float[
        Tensor, " conditioning"
    ]  # reward conditioning in [-1, 1]; 0 is the centre of the range


def ego_inputs_of_sample(sample: CameraSample, sequence: Sequence[CameraSample]) -> EgoInputs:
    """Ego inputs of a sample, from the poses of its sequence.

    The speed is `speed_mps`, or DEFAULT_SPEED_MPS; acceleration and steering are taken as 0. The command follows from
    `heading_change_rad`, and is UNKNOWN where that is None.
    """
    speed = speed_mps(sample, sequence)
    change = heading_change_rad(sample, sequence)
    zero = torch.zeros(1)
    ego = ego_features(
        torch.tensor([DEFAULT_SPEED_MPS if speed is None else speed]),
        zero,
        zero,
        zero,
        torch.tensor([EGO_SIZE_M]),
    )
    command = command_from_heading_change(torch.tensor([math.nan if change is None else change]))
    return EgoInputs(ego[0], one_hot_command(command)[0], torch.zeros(NUM_TRAITS))


@dataclass(frozen=True)
class _TimedPosition:
    """Where the ego vehicle was at one sample, and when."""

    frame: int
    time_s: float
    xy: Float[np.ndarray, " 2"]  # m, world


def _timed_positions(
    sample: CameraSample, sequence: Sequence[CameraSample]
) -> tuple[list[_TimedPosition], int | None]:
    """The samples of a sequence that have both a pose and a time, sorted by time, and the index of `sample` there."""
    known = [
        _TimedPosition(one.frame, one.timestamp_s, one.world_from_ego[:2, 3])
        for one in sequence
        if one.world_from_ego is not None and one.timestamp_s is not None
    ]
    positions = sorted(known, key=lambda one: one.time_s)
    return positions, next((i for i, one in enumerate(positions) if one.frame == sample.frame), None)


def speed_mps(sample: CameraSample, sequence: Sequence[CameraSample]) -> float | None:
    """Distance over time between the neighbouring poses of the sequence (central where there are two), m/s.

    None without a pose, a time, or a neighbour within MAX_GAP_S.
    """
    positions, index = _timed_positions(sample, sequence)
    if index is None:
        return None
    time_s = positions[index].time_s
    near = [p for p in positions[max(0, index - 1) : index + 2] if abs(p.time_s - time_s) <= MAX_GAP_S]
    gap_s = near[-1].time_s - near[0].time_s
    return float(np.linalg.norm(near[-1].xy - near[0].xy) / gap_s) if gap_s > 0 else None


def heading_change_rad(sample: CameraSample, sequence: Sequence[CameraSample]) -> float | None:
    """Heading change of the driven path over the next COMMAND_LOOKAHEAD_M, rad, left positive.

    None without a pose or a time, or where the log ends earlier.
    """
    positions, index = _timed_positions(sample, sequence)
    if index is None:
        return None
    path = [positions[index].xy]
    for position in positions[index + 1 :]:
        if np.linalg.norm(position.xy - path[-1]) >= MIN_PATH_STEP_M:
            path.append(position.xy)
    steps = np.diff(np.array(path), axis=0)
    driven = np.cumsum(np.linalg.norm(steps, axis=1))
    if len(driven) < 2 or driven[-1] < COMMAND_LOOKAHEAD_M:
        return None
    until = int(np.searchsorted(driven, COMMAND_LOOKAHEAD_M))
    headings = np.unwrap(np.arctan2(steps[: until + 1, 1], steps[: until + 1, 0]))
    return float(headings[-1] - headings[0])
