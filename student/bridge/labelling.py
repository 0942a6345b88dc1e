"""Labels of batched worlds: the teacher drives on from a fork of their states, under the rules of these worlds."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Literal

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Key

from renderer import CameraRig
from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.reset.other_routes import with_other_routes
from simulator.state import WorldState
from student.bridge.scene import heading_change
from teacher.label import Label, label
from teacher.observation.occlusion import View
from teacher.policy import Policy

LabelSight = Literal["all", "unoccluded", "cameras"]
"""Which other agents the teacher observes while it labels: all that it was trained to observe; those that no box
occludes; those of them in the view of a camera."""


@struct.dataclass
class Elsewhere:
    """Worlds in which agents are to go elsewhere."""

    state: WorldState
    heading_change: ArrayField  # [worlds, agents] rad ahead, see `student.bridge.scene.heading_change`


def sight_of(sight: LabelSight, rig: CameraRig) -> View | None:
    """The view in which the teacher observes others while it labels, None without limits: the cameras of a rig, or
    one camera that looks all around."""
    if sight == "all":
        return None
    if sight == "unoccluded":
        return ((0.0, math.pi),)
    cameras = zip(rig.rig_from_camera.cpu().numpy(), rig.intrinsics.cpu().numpy(), strict=True)
    return tuple(_horizontal(pose[:3, :3], matrix, rig.width) for pose, matrix in cameras)


def _horizontal(rig_from_camera: np.ndarray, intrinsics: np.ndarray, width_px: int) -> tuple[float, float]:
    """Direction (rad, left of straight ahead) of the middle of an image and half of its horizontal angle."""
    left = math.atan2(intrinsics[0, 2], intrinsics[0, 0])
    right = math.atan2(intrinsics[0, 2] - width_px, intrinsics[0, 0])
    ahead = rig_from_camera[:, 2]
    return math.atan2(ahead[1], ahead[0]) + 0.5 * (left + right), 0.5 * (left - right)


@partial(jax.jit, static_argnames=("rules", "view"))
def forked_label(
    key: Key[Array, ""],
    state: WorldState,
    teacher: Policy,
    atlas: RoadAtlas,
    rules: SimulatorConfig,
    view: View | None = None,
) -> Label:
    """Labels of all agents; the fork is without detailed metrics, and the teacher observes others in ``view`` only, if
    there is one, unless they are occluded. The key is consumed."""
    return _label(key, state, teacher, atlas, rules, view)


@partial(jax.jit, static_argnames=("rules", "view"))
def forked_label_elsewhere(
    key: Key[Array, ""],
    state: WorldState,
    share: Array | float,
    teacher: Policy,
    atlas: RoadAtlas,
    rules: SimulatorConfig,
    view: View | None = None,
) -> tuple[Label, Bool[Array, "worlds agents"], Elsewhere]:
    """Labels of all agents in a fork in which each has, with probability ``share``, another route from where it is; who
    has one; and the fork. The key is consumed."""
    which_key, route_key, label_key = jax.random.split(key, 3)
    which = jax.random.bernoulli(which_key, share, state.yaw.shape)
    keys = jax.random.split(route_key, state.yaw.shape[0])
    other, changed = jax.vmap(with_other_routes, (0, 0, 0, None, None))(keys, state, which, atlas, rules)
    told = jax.vmap(jax.vmap(heading_change))(other.scenario.route_yaw, other.route_m)
    return _label(label_key, other, teacher, atlas, rules, view), changed, Elsewhere(other, told)


def _label(
    key: Key[Array, ""],
    state: WorldState,
    teacher: Policy,
    atlas: RoadAtlas,
    rules: SimulatorConfig,
    view: View | None,
) -> Label:
    plain = replace(rules, detailed_metrics=False)
    state, teacher = replace(state, driving_quality=None), replace(teacher, simulator=plain)
    if view is not None:
        teacher = replace(teacher, observation=replace(teacher.observation, hide_occluded=True))
    return label(key, state, teacher, atlas, greedy=True, view=view)
