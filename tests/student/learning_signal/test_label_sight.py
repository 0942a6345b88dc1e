"""What the teacher observes of others while it labels: lines of sight and the angles of cameras."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from renderer import CameraRig
from simulator.config import SimulatorConfig
from student.bridge.labelling import sight_of
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld
from teacher.observation.occlusion import visible
from tests.worlds import world_on_straight_routes

CONFIG = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, teacher_greedy=True, height_px=27, width_px=48
)
HALF = math.atan(960 / 1545)
"""Half of the horizontal angle of nuPlan's cameras, rad."""


def test_the_view_of_a_rig_by_hand() -> None:
    """Any image size has the same view; a principal point off the middle turns it."""
    rig = CameraRig.nuplan(27, 48)
    view = sight_of("cameras", rig)
    assert view is not None
    expected = [(0.0, HALF), (math.radians(55), HALF), (math.radians(-55), HALF), (math.pi, HALF)]
    for (yaw, half), (wanted, angle) in zip(view, expected, strict=True):
        assert math.cos(yaw - wanted) == pytest.approx(1.0, abs=1e-6)
        assert half == pytest.approx(angle, abs=1e-5)
    shifted = rig.intrinsics.clone()
    shifted[0, 0, 2] = 48.0  # the optical axis meets the right edge: all of the view is left of it
    (yaw, half), *_ = sight_of("cameras", replace(rig, intrinsics=shifted)) or ()
    assert (yaw - half, yaw + half) == pytest.approx((0.0, math.atan(2 * 960 / 1545)), abs=1e-5)
    assert sight_of("all", rig) is None
    assert sight_of("unoccluded", rig) == ((0.0, math.pi),)


@pytest.mark.parametrize("turn", [0.0, 2.5])
def test_who_is_seen_by_nuplans_cameras(turn: float) -> None:
    """Around a car at the origin: one ahead, one hidden behind that, one between the views of the left and the back
    camera, one behind the car. The world may be turned."""
    x, y = np.array([0.0, 12.0, 30.0, -6.0, -15.0]), np.array([0.0, 0.0, 0.0, 20.0, 0.0])
    size = np.tile([4.0, 2.0, 1.5], (5, 1))
    size[1] = [4.0, 3.0, 3.0]
    cos, sin = np.cos(turn), np.sin(turn)
    state = world_on_straight_routes(
        x * cos - y * sin, x * sin + y * cos, np.full(5, turn), np.zeros(5), SimulatorConfig(), size
    )
    others = jnp.broadcast_to(jnp.array([1, 2, 3, 4]), (5, 4))
    there = jnp.ones((5, 4), bool).at[1:].set(False)
    views = {
        sight: sight_of(sight, CameraRig.nuplan())  # type: ignore[arg-type]
        for sight in ("unoccluded", "cameras")
    }
    assert visible(state, others, there)[0].tolist() == [True, False, True, True]
    assert visible(state, others, there, views["unoccluded"])[0].tolist() == [True, False, True, True]
    assert visible(state, others, there, views["cameras"])[0].tolist() == [True, False, False, True]
    assert visible(state, others, there, ((0.0, 0.1),))[0].tolist() == [True, False, False, False]


def approach(world: PixelWorld) -> None:
    """In world 0 agent 0 drives at 8 m/s towards a car that stands 22 m ahead on its straight route; alone."""
    for seed in range(20):
        world.reset(seed)
        route = np.asarray(world.state.scenario.route)[0, 0]
        if np.asarray(world.state.active)[0, 0] and np.ptp(np.arctan2(route[:20, 3], route[:20, 2])) < 0.05:
            break
    state, ahead = world.state, route[11]
    alone = jnp.arange(6) < 1
    world.state = replace(
        state,
        position=state.position.at[0, 1].set(jnp.array([ahead[0], ahead[1], ahead[4]])),
        yaw=state.yaw.at[0, 1].set(np.arctan2(ahead[3], ahead[2])),
        speed=state.speed.at[0].set(jnp.where(alone, 8.0, 0.0)),
        active=state.active.at[0].set(alone),
        present=state.present.at[0].set(jnp.arange(6) < 2),
        scenario=replace(
            state.scenario,
            size=state.scenario.size.at[0, :2].set(jnp.array([4.5, 2.0, 1.5])),
            lights_on=jnp.zeros_like(state.scenario.lights_on),
        ),
    )
    world._refresh()


def test_a_teacher_that_looks_back_alone_labels_a_collision(tmp_path: Path) -> None:
    """With all agents in sight it stops in time; through one camera that looks back it drives into the car, and the
    label is not valid. The worlds and their pictures do not know the difference."""
    file = tmp_path / "back.yaml"
    file.write_text(
        "height: 27\nwidth: 48\ncameras:\n  back: {x_m: -0.5, y_m: 0.0, z_m: 1.4, yaw_deg: 180.0, width: 48, "
        "height: 27, focal_px: 38.0}\n"
    )
    config = replace(CONFIG, cameras=str(file))
    seeing = PixelWorld(config)
    blind = PixelWorld(replace(config, label_sight="cameras"), teacher=seeing.teacher)
    for world in (seeing, blind):
        approach(world)
    assert torch.equal(seeing.observe().images, blind.observe().images)
    seen, unseen = seeing.label(), blind.label()
    assert seeing.ego_agents[0] == blind.ego_agents[0] == 0
    assert seen.valid[0]
    assert seen.trajectory.poses[0, -1, 0] < 22.0 - 4.5
    assert not unseen.valid[0]
    assert unseen.trajectory.poses[0, -1, 0] > seen.trajectory.poses[0, -1, 0] + 0.2
