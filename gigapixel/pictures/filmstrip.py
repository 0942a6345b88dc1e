"""`gigapixel film`: filmstrips of one episode, driven by a student and by the teacher.

Each shows one car through its front camera and from above, with what the student plans: its trajectory for the next
4 s and, of a policy that proposes several, all of them, coloured by score.

    gigapixel film --weights pretrained --map Town10HD --output film.png
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from gigapixel.pictures.drawn_paths import draw_in_camera
from gigapixel.pictures.layout import ACCENTS, BACKGROUND, FAINT, TEXT
from gigapixel.pictures.student_view import first_world, plan_of_agent, plan_strokes
from gigapixel.pictures.world_snapshot import WorldSnapshot, busiest_car, draw_top_down
from gigapixel.run_folder.config.command_line import CommandParser
from gigapixel.run_folder.figure import write_image
from gigapixel.run_folder.image_grid import GridCell, GridStyle, TextLine, fit_width, image_grid
from gigapixel.run_folder.outputs import check_output_picture
from renderer import CameraRig, render
from simulator.conventions import HORIZON_S
from student.checkpoint import load_policy
from student.dagger.closed_loop import drive_until_next_plan
from student.network.policy import StudentPolicy
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld

NUM_INSTANTS = 6
CELL_WIDTH_PX, TOP_DOWN_HEIGHT_PX = 288, 216
FILMSTRIP_STYLE = GridStyle(
    gap_px=6,
    background=BACKGROUND,
    caption=TextLine(22, 13, FAINT, (0, 4)),
    row_title=TextLine(30, 18, TEXT, (0, 8)),
)


@dataclass(frozen=True)
class Instant:
    """One column of a filmstrip."""

    caption: str
    camera: Image.Image  # the student's pixels enlarged to CELL_WIDTH_PX, with its plan
    top_down: Image.Image


def comparison_filmstrip(
    world: PixelWorld, drivers: Mapping[str, StudentPolicy | None], seed: int, seconds: float
) -> Image.Image:
    """One filmstrip per driver, under each other: the busiest car of the first world at NUM_INSTANTS instants.

    Each driver drives all agents of the same episode. A car that has crashed or arrived is still shown at its last
    position. A filmstrip ends early when no agent is left to drive.

    Args:
        world: Where they drive; it is reset.
        drivers: Title and student policy; None is the teacher.
        seed: Seed of the episode.
        seconds: Approximate length of the episode.
    """
    rows: list[Sequence[GridCell | Image.Image]] = []
    titles: list[str | None] = []
    for title, policy in drivers.items():
        instants = drive_and_draw(world, policy, seed, seconds)
        rows += [
            [GridCell(instant.camera, instant.caption) for instant in instants],
            [instant.top_down for instant in instants],
        ]
        titles += [f"{title}{drawn_plan(policy)}", None]
    return image_grid(rows, FILMSTRIP_STYLE, row_titles=titles, cell_width_px=CELL_WIDTH_PX)


def drawn_plan(policy: StudentPolicy | None) -> str:
    """What a filmstrip shows of a driver's plans, as the end of its title."""
    if policy is None:
        return ""
    planner = policy.config.planner
    if planner.kind == "proposals" and planner.proposals > 1:
        return f" (its {planner.proposals} proposals for {HORIZON_S:g} s, good ones yellow, and in cyan the chosen one)"
    return f" (in cyan its plan for {HORIZON_S:g} s)"


def drive_and_draw(
    world: PixelWorld, policy: StudentPolicy | None, seed: int, seconds: float
) -> list[Instant]:
    """The instants of one driver, see `comparison_filmstrip`."""
    world.reset(seed)
    world.assign_teacher(0.0 if policy is not None else 1.0)
    agent = busiest_car(world.state)
    plans = max(1, round(seconds / world.config.plan_s / (NUM_INSTANTS - 1)))
    instants = [draw_instant(world, agent, policy)]
    for _ in range(NUM_INSTANTS - 1):
        for _ in range(plans):
            if not len(world.ego_agents):
                return instants
            drive_until_next_plan(world, policy, world.observe() if policy is not None else None)
        instants.append(draw_instant(world, agent, policy))
    return instants


def draw_instant(world: PixelWorld, agent: int, policy: StudentPolicy | None) -> Instant:
    """The view of the front camera of an agent of the first world, and the view from above, with what a student plans
    for it if it still drives."""
    camera = "front" if "front" in world.rig.names else world.rig.names[0]
    rig = world.rig.select([camera])
    scene = world.scene(torch.tensor([agent]))
    image = render(scene, rig, channels=("rgb",), backend=world.config.backend).rgb[0, 0].cpu().numpy()
    picture = fit_width(image, CELL_WIDTH_PX)
    plan = None if policy is None else plan_of_agent(world, policy, agent)
    strokes = []
    if policy is not None and plan is not None:
        strokes = plan_strokes(plan, policy.config.planner.selection)
        picture = draw_in_camera(picture, rig, camera, strokes)
    snapshot, size = first_world(world), (CELL_WIDTH_PX, TOP_DOWN_HEIGHT_PX)
    top_down = draw_top_down(snapshot, agent, rig.to("cpu"), ACCENTS[:1], size, strokes)
    return Instant(f"{snapshot.time_s:.1f} s, {agent_status(snapshot, agent)}", picture, top_down)


def agent_status(snapshot: WorldSnapshot, agent: int) -> str:
    """The speed of an agent of the only world, or why its episode has ended."""
    state = snapshot.state
    if bool(state.active[0, agent]) or not bool(state.spawned[0, agent]):
        return f"{float(state.speed[0, agent]) * 3.6:.0f} km/h"
    if int(state.collisions[0, agent]):
        return "has crashed"
    return "has left the road" if int(state.offroads[0, agent]) else "has arrived"


def main(argv: Sequence[str]) -> int:
    """Draw the filmstrips of a student and of the teacher."""
    parser = CommandParser(prog="gigapixel film", description=__doc__)
    parser.add_argument(
        "--weights",
        required=True,
        metavar="PT",
        help="policy file or checkpoint of the student, or `pretrained`",
    )
    parser.add_argument("--map", default="Town10HD", help="town or scene pack (default: Town10HD)")
    parser.add_argument("--output", type=Path, required=True, metavar="PNG", help="the filmstrip")
    parser.add_argument("--rig", metavar="YAML", help="cameras (default: nuPlan's four; see configs/cameras)")
    parser.add_argument("--agents", type=int, default=16, help="agents in the world (default: 16)")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of the episode (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the episode (default: 0)")
    arguments = parser.parse_args(argv)
    if not 0 < arguments.seconds < math.inf:
        raise ValueError(f"--seconds {arguments.seconds} must be above 0")
    check_output_picture("--output", arguments.output)
    policy = load_policy(arguments.weights).eval()
    rig = CameraRig.from_yaml(arguments.rig) if arguments.rig else CameraRig.nuplan()
    if rig.num_cameras != policy.config.num_cameras:
        raise ValueError(
            f"--rig has {rig.num_cameras} cameras ({', '.join(rig.names)}) and the student of {arguments.weights} "
            f"has {policy.config.num_cameras}; give the rig that it was trained with"
        )
    config = PixelWorldConfig(
        maps=(arguments.map,),
        num_worlds=1,
        num_agents=arguments.agents,
        cameras=arguments.rig,
        height_px=policy.config.height_px,
        width_px=policy.config.width_px,
        target_points=policy.config.target_points,
    )
    drivers = {"The student drives": policy, "The teacher drives": None}
    filmstrip = comparison_filmstrip(PixelWorld(config), drivers, arguments.seed, arguments.seconds)
    write_image(arguments.output, filmstrip)
    return 0
