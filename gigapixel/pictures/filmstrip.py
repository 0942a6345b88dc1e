"""Filmstrips: one episode driven by several drivers in turn, moment by moment, through one car's front camera and from
above.

    gigapixel film --weights runs/student/cpu/policy.pt --map Town10HD --output film.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import torch
from PIL import Image, ImageDraw

from gigapixel.pictures.layout import ACCENTS, BACKGROUND, FAINT, TEXT, fitted, font
from gigapixel.pictures.render_command import save_png
from gigapixel.pictures.world_snapshot import Moment, busiest_car, draw_above
from renderer import CameraRig, render
from student.checkpoint import load_policy
from student.dagger.closed_loop import advance
from student.network.policy import StudentPolicy
from student.pixel_world import PixelWorld, PixelWorldConfig

MOMENTS = 6
CELL_WIDTH, ABOVE_HEIGHT = 288, 216  # px
GAP = 6
TITLE, CAPTION = 30, 22  # px, heights of the lines above a strip and above a cell


@dataclass(frozen=True)
class Cell:
    """One moment of a strip."""

    caption: str
    camera: Image.Image  # as small as the student sees it, enlarged without smoothing
    above: Image.Image


def film(
    world: PixelWorld, drivers: Mapping[str, StudentPolicy | None], seed: int, seconds: float
) -> Image.Image:
    """The busiest car of the first world at MOMENTS instants over about `seconds`; a strip for each driver and title.

    A driver drives every agent (None: the teacher), and all begin the same episode of `seed`. The place of a car that
    has crashed or arrived is shown on. A strip ends early where nobody is left to drive.
    """
    strips = {title: strip(world, policy, seed, seconds) for title, policy in drivers.items()}
    return _sheet(strips)


def strip(world: PixelWorld, policy: StudentPolicy | None, seed: int, seconds: float) -> list[Cell]:
    """The moments of one driver; see `film`."""
    world.reset(seed)
    world.draw_drivers(0.0 if policy is not None else 1.0)
    agent = busiest_car(world.state)
    plans = max(1, round(seconds / world.config.plan_s / (MOMENTS - 1)))
    cells = [_cell(world, agent)]
    for _ in range(MOMENTS - 1):
        for _ in range(plans):
            if not len(world.viewers):
                return cells
            advance(world, policy, world.observe() if policy is not None else None)
        cells.append(_cell(world, agent))
    return cells


def _cell(world: PixelWorld, agent: int) -> Cell:
    """What one car of the first world sees ahead now, and where it is."""
    ahead = "front" if "front" in world.rig.names else world.rig.names[0]
    rig = world.rig.select([ahead])
    scene = world.scene(torch.tensor([agent]))
    picture = render(scene, rig, channels=("rgb",), backend=world.config.backend).rgb[0, 0].cpu().numpy()
    state = jax.tree.map(lambda leaf: leaf[:1], world.state)
    road_map = world.places.road_maps[int(state.map_id[0])]
    moment = Moment(state, road_map, world.atlas, world.simulator, "")
    above = draw_above(moment, agent, rig.to("cpu"), ACCENTS[:1], (CELL_WIDTH, ABOVE_HEIGHT))
    return Cell(f"{moment.time_s:.1f} s, {outcome(moment, agent)}", fitted(picture, CELL_WIDTH), above)


def outcome(moment: Moment, agent: int) -> str:
    """How fast a car of the only world drives, or why its driver no longer drives it."""
    state = moment.state
    if bool(state.active[0, agent]) or not bool(state.spawned[0, agent]):
        return f"{float(state.speed[0, agent]) * 3.6:.0f} km/h"
    if int(state.collisions[0, agent]):
        return "has crashed"
    return "has left the road" if int(state.offroads[0, agent]) else "has arrived"


def _sheet(strips: Mapping[str, Sequence[Cell]]) -> Image.Image:
    """Strips from top to bottom, each with its cameras above its views from above."""
    columns = max(len(cells) for cells in strips.values())
    camera_height = max(cell.camera.height for cells in strips.values() for cell in cells)
    height = TITLE + CAPTION + camera_height + GAP + ABOVE_HEIGHT + GAP
    sheet = Image.new("RGB", (GAP + columns * (CELL_WIDTH + GAP), len(strips) * height + GAP), BACKGROUND)
    brush = ImageDraw.Draw(sheet)
    for row, (title, cells) in enumerate(strips.items()):
        top = row * height
        brush.text((GAP, top + 8), title, fill=TEXT, font=font(18))
        for column, cell in enumerate(cells):
            left, below = GAP + column * (CELL_WIDTH + GAP), top + TITLE + CAPTION
            brush.text((left, top + TITLE + 4), cell.caption, fill=FAINT, font=font(13))
            sheet.paste(cell.camera, (left, below))
            sheet.paste(cell.above, (left, below + camera_height + GAP))
    return sheet


def main(argv: Sequence[str]) -> int:
    """A student from a file and the teacher in the same episode."""
    parser = argparse.ArgumentParser(prog="gigapixel film", description=__doc__)
    parser.add_argument(
        "--weights", required=True, metavar="PT", help="policy file or checkpoint of the student"
    )
    parser.add_argument("--map", default="Town10HD", help="town or scene pack (default: Town10HD)")
    parser.add_argument("--output", type=Path, required=True, metavar="PNG", help="the filmstrip")
    parser.add_argument("--rig", metavar="YAML", help="cameras (default: nuPlan's four; see configs/cameras)")
    parser.add_argument("--agents", type=int, default=16, help="agents in the world (default: 16)")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of the episode (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="of the episode (default: 0)")
    arguments = parser.parse_args(argv)
    if arguments.seconds <= 0:
        raise ValueError(f"--seconds {arguments.seconds} must be above 0")
    policy = load_policy(arguments.weights).eval()
    rig = CameraRig.from_yaml(arguments.rig) if arguments.rig else CameraRig.nuplan()
    if rig.num_cameras != policy.config.num_cameras:
        raise ValueError(
            f"--rig has {rig.num_cameras} cameras ({', '.join(rig.names)}) and the student of {arguments.weights} "
            f"looks through {policy.config.num_cameras}; give the rig that it was trained with"
        )
    config = PixelWorldConfig(
        maps=(arguments.map,),
        num_worlds=1,
        num_agents=arguments.agents,
        cameras=arguments.rig,
        height_px=policy.config.height_px,
        width_px=policy.config.width_px,
    )
    drivers = {"The student drives": policy, "The teacher drives": None}
    save_png(film(PixelWorld(config), drivers, arguments.seed, arguments.seconds), arguments.output)
    return 0
