"""A teacher's drive as a filmstrip from above."""

import jax
from PIL import Image, ImageDraw, ImageFont

from simulator.maps import load_atlas, load_maps
from simulator.rollout import roll
from simulator.snapshot import busiest_place, draw_state, world_of
from teacher.evaluate import choose_with, evaluation_simulator, start_worlds
from teacher.policy import Policy

PANELS = 6
EXTENT_M = 110.0
PANEL_PX = 400
GAP_PX = 6
INK = (24, 26, 30)


def filmstrip(policy: Policy, map_name: str, num_agents: int, seconds: float, seed: int) -> Image.Image:
    """Six instants of one episode, evenly spaced over ``seconds``, around its busiest place at the start."""
    road_map, atlas = load_maps([map_name])[0], load_atlas([map_name])
    config = evaluation_simulator(policy, num_agents, seconds)
    key, reset_key = jax.random.split(jax.random.key(seed))
    worlds = start_worlds(reset_key, atlas, config, 1)
    centre = busiest_place(world_of(worlds, 0))
    steps = max(1, config.episode_steps // (PANELS - 1))
    drive = jax.jit(
        lambda key, worlds: roll(
            key, worlds, choose_with(policy, atlas, config, False), atlas, config, steps
        )[0]
    )
    panels = []
    for _ in range(PANELS):
        panels.append(
            (
                worlds.step[0] * config.timestep_s,
                draw_state(world_of(worlds, 0), road_map, atlas, config, centre, EXTENT_M, PANEL_PX),
            )
        )
        key, step_key = jax.random.split(key)
        worlds = drive(step_key, worlds)
    return in_a_row([picture for _, picture in panels], [f"{float(time):.0f} s" for time, _ in panels])


def in_a_row(pictures: list[Image.Image], captions: list[str], columns: int = 3) -> Image.Image:
    """Pictures of one size in rows, each under its caption."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    caption_px = 20
    sheet = Image.new(
        "RGB", (columns * (width + GAP_PX) + GAP_PX, rows * (height + caption_px + GAP_PX) + GAP_PX), INK
    )
    brush, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x = GAP_PX + (index % columns) * (width + GAP_PX)
        y = GAP_PX + (index // columns) * (height + caption_px + GAP_PX)
        brush.text((x + 2, y), caption, fill=(225, 228, 232), font=font)
        sheet.paste(picture, (x, y + caption_px))
    return sheet
