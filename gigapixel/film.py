"""Filmstrips of a drive: what one agent's cameras see and where it is, instant by instant."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from gigapixel.sheet import BACKGROUND, FAINT, TEXT, font
from simulator.maps import load_maps
from simulator.snapshot import draw_state, world_of
from student.driving import advance
from student.policy import StudentPolicy
from student.world import PixelWorld

ROWS = 5
CAMERA_WIDTH = 288
ABOVE_M = 70.0
GAP = 6
TOP = 26


def film(world: PixelWorld, policy: StudentPolicy | None, seed: int, seconds: float) -> Image.Image:
    """One agent of the first world, five instants from top to bottom: every camera, then the view from above.

    The policy drives every agent (the teacher without one). The strip ends early if the agent crashes or arrives.
    """
    world.reset(seed)
    world.draw_drivers(0.0 if policy is not None else 1.0)
    agent = _long_route(world)
    plans = max(1, round(seconds / world.config.plan_s / (ROWS - 1)))
    rows = []
    for _ in range(ROWS):
        row = _row(world, agent)
        if row is None:
            break
        rows.append(row)
        for _ in range(plans):
            if not len(world.viewers):
                break
            advance(world, policy, world.observe() if policy is not None else None)
    return _stacked(rows, world.rig.names)


def _long_route(world: PixelWorld) -> int:
    """The agent of the first world with the farthest last goal among those that drive."""
    state = world_of(world.state, 0)
    goals = np.asarray(state.scenario.goal_m)[:, -1]
    return int(np.argmax(np.where(np.asarray(state.active), goals, -1.0)))


def _row(world: PixelWorld, agent: int) -> tuple[str, list[Image.Image]] | None:
    """Caption and pictures of one instant; None once the agent no longer drives."""
    place = (world.viewers == agent).nonzero()
    if not len(place):
        return None
    images = world.observe().images[int(place[0, 0])].cpu().numpy()
    height = round(CAMERA_WIDTH * images.shape[1] / images.shape[2])
    cameras = [
        Image.fromarray(image).resize((CAMERA_WIDTH, height), Image.Resampling.NEAREST) for image in images
    ]
    state = world_of(world.state, 0)
    road_map = load_maps([world.config.maps[int(state.map_id)]])[0]
    centre = np.asarray(state.position)[agent, :2]
    size = (round(1.2 * height), height)
    above = draw_state(state, road_map, world.atlas, world.simulator, centre, ABOVE_M, size)
    time_s = int(state.step) * world.simulator.timestep_s
    return f"{time_s:.1f} s, {float(state.speed[agent]):.1f} m/s", [*cameras, above]


def _stacked(rows: list[tuple[str, list[Image.Image]]], names: tuple[str, ...]) -> Image.Image:
    widths = [picture.width for picture in rows[0][1]]
    height = rows[0][1][0].height
    sheet = Image.new(
        "RGB", (sum(widths) + GAP * (len(widths) + 1), TOP + len(rows) * (height + TOP)), BACKGROUND
    )
    brush = ImageDraw.Draw(sheet)
    lefts = np.cumsum([GAP] + [width + GAP for width in widths])[: len(widths)]
    for left, title in zip(lefts, [*names, "from above"], strict=True):
        brush.text((left, 6), title.replace("_", " "), fill=TEXT, font=font(13))
    for index, (caption, pictures) in enumerate(rows):
        top = TOP + index * (height + TOP)
        brush.text((GAP, top + 5), caption, fill=FAINT, font=font(12))
        for left, picture in zip(lefts, pictures, strict=True):
            sheet.paste(picture, (int(left), top + TOP - 4))
    return sheet
