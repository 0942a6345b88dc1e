"""One instant of a student's drive: the pictures that it is given, what it plans, and what the teacher would do."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from gigapixel.pictures.drawn_paths import Stroke, draw_in_camera
from gigapixel.pictures.layout import ACCENTS, OVERVIEW_STYLE, Colour
from gigapixel.pictures.render_command import left_to_right
from gigapixel.pictures.world_snapshot import WorldSnapshot, draw_top_down
from gigapixel.run_folder.image_grid import GridCell, fit_width, image_grid
from renderer import CameraRig, render
from student.batch import Label
from student.dagger.closed_loop import plan_for
from student.network.plan import Plan
from student.network.policy import StudentPolicy
from student.observation import Observation
from student.sub_scores import SelectionRule, selection_score
from student.trajectory import Trajectory
from student.world.pixel_world import PixelWorld

PLAN_COLOUR: Colour = (34, 211, 238)
"""Of the trajectory that is followed: the only one, or the chosen proposal."""
LABEL_COLOUR: Colour = (232, 121, 249)
"""Of the teacher's label."""
WORST_COLOUR: Colour = (88, 58, 128)
BEST_COLOUR: Colour = (253, 224, 71)
"""Proposals by score, from the lowest to the highest of a plan."""
PLAN_WIDTH_M, PROPOSAL_WIDTH_M = 0.3, 0.1
CAMERA_WIDTH_PX = 300
TOP_DOWN_HEIGHT_PX = 420


@dataclass(frozen=True)
class StudentView:
    """One instant, seen by one agent; observation, plan and label are batches of one."""

    snapshot: WorldSnapshot
    agent: int
    rig: CameraRig  # at the size of the student's pictures
    observation: Observation
    plan: Plan
    label: Label | None
    sharp: UInt8[np.ndarray, "cameras height width 3"]  # of the same cameras, CAMERA_WIDTH_PX wide

    def strokes(self, selection: SelectionRule) -> list[Stroke]:
        """What is drawn: the teacher's label, if there is one, below the plan (see `plan_strokes`)."""
        known = self.label is not None and bool(self.label.valid[0])
        label = [label_stroke(self.label.trajectory)] if known and self.label is not None else []
        return label + plan_strokes(self.plan, selection)


def plan_strokes(plan: Plan, selection: SelectionRule) -> list[Stroke]:
    """The plan of one agent [1, ...] as it is drawn: proposals coloured by score, the best above the others, and over
    them the trajectory that is followed, with a mark every half second."""
    chosen = Stroke(_poses(plan.trajectory.poses[0]), PLAN_COLOUR, PLAN_WIDTH_M, ticked=True)
    if plan.proposals is None or plan.scores is None:
        return [chosen]
    score = selection_score(plan.scores, selection)[0]
    colours = score_colours(score.numpy())
    proposals = [
        Stroke(_poses(plan.proposals[0, index]), colours[index], PROPOSAL_WIDTH_M)
        for index in score.argsort().tolist()
    ]
    return [*proposals, chosen]


def label_stroke(trajectory: Trajectory) -> Stroke:
    """The trajectory of the teacher for one agent [1, poses, 3] as it is drawn."""
    return Stroke(_poses(trajectory.poses[0]), LABEL_COLOUR, PLAN_WIDTH_M, ticked=True)


def score_colours(score: Float[np.ndarray, " proposals"]) -> list[Colour]:
    """A colour for each score: WORST_COLOUR for the lowest, BEST_COLOUR for the highest, a mixture between them."""
    spread = max(float(score.max() - score.min()), 1e-9)
    share = ((score - score.min()) / spread)[:, None]
    mixed = np.rint((1 - share) * np.array(WORST_COLOUR) + share * np.array(BEST_COLOUR)).astype(int)
    return [(red, green, blue) for red, green, blue in mixed.tolist()]


def plan_of_agent(world: PixelWorld, policy: StudentPolicy, agent: int) -> Plan | None:
    """What a student plans now for an agent (flat index), [1, ...]; None for an agent that does not drive."""
    row = (world.ego_agents == agent).nonzero()[:, 0]
    return plan_for(policy, world.observe())[row].to("cpu") if len(row) else None


def view_of_agent(
    world: PixelWorld, policy: StudentPolicy, agent: int, with_label: bool = False
) -> StudentView:
    """What an agent of the first world sees and plans now.

    Raises ValueError for an agent that does not drive.
    """
    row = (world.ego_agents == agent).nonzero()[:, 0]
    if not len(row):
        raise ValueError(f"agent {agent} does not drive now; those that do are {world.ego_agents.tolist()}")
    observation = world.observe()
    plan = plan_for(policy, observation)[row].to("cpu")
    label = world.label()[row].to("cpu") if with_label else None
    height = round(CAMERA_WIDTH_PX * world.rig.height / world.rig.width)
    large = world.rig.resized(height, CAMERA_WIDTH_PX)
    scene = world.scene(torch.tensor([agent]))
    sharp = render(scene, large, channels=("rgb",), backend=world.config.backend).rgb[0].cpu().numpy()
    seen = observation[row].to("cpu")
    return StudentView(first_world(world), agent, world.rig.to("cpu"), seen, plan, label, sharp)


def first_world(world: PixelWorld) -> WorldSnapshot:
    """The first of the worlds now."""
    state = jax.tree.map(lambda leaf: leaf[:1], world.state)
    road_map = world.map_set.road_maps[int(state.map_id[0])]
    return WorldSnapshot(state, road_map, world.atlas, world.simulator, None)


def draw_student_view(view: StudentView, selection: SelectionRule = "navsim_v2") -> Image.Image:
    """The pictures that the student is given, the same cameras in sharp renderings with the plan on the ground, and the
    view from above with the plan and the teacher's label."""
    order = left_to_right(view.rig)
    names = [view.rig.names[camera] for camera in order]
    accents = [ACCENTS[place % len(ACCENTS)] for place in range(len(order))]
    strokes = view.strokes(selection)
    given = [
        GridCell(
            fit_width(view.observation.images[0, camera].numpy(), CAMERA_WIDTH_PX),
            name.replace("_", " "),
            accent,
        )
        for camera, name, accent in zip(order, names, accents)
    ]
    sharp = [
        draw_in_camera(view.sharp[camera], view.rig, view.rig.names[camera], strokes) for camera in order
    ]
    given_title = f"the student's pictures, {view.rig.width} x {view.rig.height} pixels"
    sharp_title = "the same cameras, sharp, with its plan (cyan)"
    cameras = image_grid([given, sharp], OVERVIEW_STYLE, row_titles=[given_title, sharp_title])
    above = draw_top_down(
        view.snapshot,
        view.agent,
        view.rig.select(names),
        accents,
        (cameras.width - 24, TOP_DOWN_HEIGHT_PX),
        strokes,
    )
    return image_grid([[cameras], [above]], OVERVIEW_STYLE, row_titles=[None, "from above, north up"])


def _poses(poses: Tensor) -> Float[np.ndarray, "poses 3"]:
    return poses.numpy().astype(np.float64)
