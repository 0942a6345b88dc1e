"""What the student is told about its own motion at a real moment, where the data set says enough to know it.

The same numbers go to both sides of a pair, so they cannot make a difference between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from adaptation.frames.camera_frame import Moment
from simulator.conventions import NUM_TRAITS
from student.observation import (
    COMMAND_LOOKAHEAD_M,
    Command,
    command_from_heading_change,
    ego_features,
    one_hot_command,
)

DEFAULT_SPEED_MPS = 8.0
"""Used where no pose or no time is given; an ordinary speed in a town."""
EGO_SIZE_M = (4.6, 1.85, 1.6)
"""Length, width, height of the recording cars, which no file states; an ordinary station wagon."""
MAX_GAP_S = 1.5
"""Poses further apart in time than this say nothing about the speed now."""
MIN_STEP_M = 0.5
"""Along the future path, headings are taken between points at least this far apart."""


@dataclass(frozen=True)
class Motion:
    """The student's inputs beside the pictures, for one moment."""

    ego: Float[Tensor, " ego"]  # student.observation.EGO_SCALES order, scaled
    command: Float[Tensor, " commands"]  # one-hot over Command
    conditioning: Float[Tensor, " conditioning"]  # driver traits; 0 is the average driver


def motion_of(moment: Moment, sequence: Sequence[Moment]) -> Motion:
    """Motion at a moment, from the poses of its sequence.

    Speed: distance to the nearest pose in time over the time between. Command: heading change of the path that
    was really driven over the next COMMAND_LOOKAHEAD_M. Acceleration and steering are taken as 0.
    """
    speed = speed_mps(moment, sequence)
    change = heading_change_rad(moment, sequence)
    zero = torch.zeros(1)
    ego = ego_features(
        torch.tensor([DEFAULT_SPEED_MPS if speed is None else speed]),
        zero,
        zero,
        zero,
        torch.tensor([EGO_SIZE_M]),
    )
    command = command_from_heading_change(torch.tensor([math.nan if change is None else change]))
    return Motion(ego[0], one_hot_command(command)[0], torch.zeros(NUM_TRAITS))


def default_motion() -> Motion:
    """Motion where nothing is known."""
    zero = torch.zeros(1)
    ego = ego_features(torch.tensor([DEFAULT_SPEED_MPS]), zero, zero, zero, torch.tensor([EGO_SIZE_M]))
    return Motion(ego[0], one_hot_command(torch.tensor([int(Command.UNKNOWN)]))[0], torch.zeros(NUM_TRAITS))


@dataclass(frozen=True)
class _Pose:
    """Where and when, of one moment of a sequence."""

    frame: int
    time_s: float
    xy: Float[np.ndarray, " 2"]  # m, world


def _poses(sequence: Sequence[Moment]) -> list[_Pose]:
    """Every moment with both a pose and a time, by time."""
    known = [
        _Pose(moment.frame, moment.timestamp_s, moment.world_from_ego[:2, 3])
        for moment in sequence
        if moment.world_from_ego is not None and moment.timestamp_s is not None
    ]
    return sorted(known, key=lambda pose: pose.time_s)


def speed_mps(moment: Moment, sequence: Sequence[Moment]) -> float | None:
    """Speed from the neighbouring poses of the moment's own sequence (central where there are two), or None."""
    poses = _poses(sequence)
    place = next((i for i, pose in enumerate(poses) if pose.frame == moment.frame), None)
    if place is None:
        return None
    near = [
        p for p in poses[max(0, place - 1) : place + 2] if abs(p.time_s - poses[place].time_s) <= MAX_GAP_S
    ]
    gap_s = near[-1].time_s - near[0].time_s
    return float(np.linalg.norm(near[-1].xy - near[0].xy) / gap_s) if gap_s > 0 else None


def heading_change_rad(moment: Moment, sequence: Sequence[Moment]) -> float | None:
    """Heading change of the driven path over the look-ahead, or None where it is not recorded that far."""
    poses = _poses(sequence)
    place = next((i for i, pose in enumerate(poses) if pose.frame == moment.frame), None)
    if place is None:
        return None
    kept = [poses[place].xy]
    for pose in poses[place + 1 :]:
        if np.linalg.norm(pose.xy - kept[-1]) >= MIN_STEP_M:
            kept.append(pose.xy)
    steps = np.diff(np.array(kept), axis=0)
    driven = np.cumsum(np.linalg.norm(steps, axis=1))
    if len(driven) < 2 or driven[-1] < COMMAND_LOOKAHEAD_M:
        return None
    until = int(np.searchsorted(driven, COMMAND_LOOKAHEAD_M))
    headings = np.unwrap(np.arctan2(steps[: until + 1, 1], steps[: until + 1, 0]))
    return float(headings[-1] - headings[0])
