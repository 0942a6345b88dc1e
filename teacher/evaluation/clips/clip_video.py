"""Short films of single agent-episodes, from above: the camera follows one agent to the event its clip is about.

A film is a GIF in real time and a strip of six of its pictures (PNG), the last one of the event itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from simulator.drawing.top_down import draw_world
from simulator.drawing.viewport import Colour, View
from teacher.evaluation.clips.clip_scene import COLOURS, Stage
from teacher.evaluation.clips.clip_selection import ARRIVAL, COLLISION, OFFROAD, UNFINISHED, Clip
from teacher.evaluation.clips.image_grid import in_a_row

EXTENT_M = 60.0
SIZE_PX = 480
FRAME_S = 0.125
"""Pictures are at most this far apart: between two steps everybody moves evenly."""
HOLD_S = 1.5
"""The last picture stays this long."""
SHARPNESS = 3
"""Marks are drawn so many times too large and averaged down."""
TITLE_PX, LEGEND_PX = 44, 22
INK, PAPER, FAINT = (24, 26, 30), (235, 238, 242), (150, 158, 170)
ALARM: Colour = (255, 84, 84)
GOAL: Colour = (74, 222, 128)
FOLLOWED = COLOURS["this agent"]
PANELS = 6
ENDINGS = (COLLISION, OFFROAD)
"""Events after which the agent stands."""

Brush = ImageDraw.ImageDraw


def write_film(clip: Clip, title: str, folder: Path, name: str) -> list[Path]:
    """Writes ``name``.gif and ``name``.png into the folder; each appears whole or not at all."""
    timestep_s = clip.episodes.config.timestep_s
    between = max(1, int(np.ceil(timestep_s / FRAME_S - 1e-6)))
    stage = Stage(clip, SIZE_PX, EXTENT_M)
    times = [
        (step, part / between) for step in range(clip.first_step, clip.last_step) for part in range(between)
    ]
    times.append((clip.last_step, 0.0))
    drawn = [draw_frame(stage, *when) for when in times]
    pictures = [framed(image, stage, title, numbers) for image, numbers in drawn]
    panels = [drawn[(step - clip.first_step) * between] for step in strip_steps(clip)]
    strip = in_a_row([image for image, _ in panels], [numbers for _, numbers in panels])
    strip = framed(strip, stage, title, "")
    folder.mkdir(parents=True, exist_ok=True)
    film, still = folder / f"{name}.gif", folder / f"{name}.png"
    save_gif(pictures, timestep_s / between, film, HOLD_S)
    partial = still.with_name(f".{still.name}.part")
    strip.save(partial, format="PNG")
    partial.replace(still)
    return [film, still]


def strip_steps(clip: Clip) -> list[int]:
    """The instants of the strip, the last one being the event: at most PANELS, denser towards something bad."""
    span = clip.event_step - clip.first_step
    shares = np.linspace(1.0, 0.0, PANELS)
    if clip.event not in (ARRIVAL, UNFINISHED) and span >= 2 * PANELS:
        shares = shares**2
    return sorted({clip.event_step - round(share * span) for share in shares.tolist()})


def save_gif(pictures: Sequence[Image.Image], frame_s: float, path: Path, hold_s: float) -> None:
    """Pictures of `frame_s`, the last one of `hold_s`, whole or not at all.

    One palette for all pictures, so that nothing flickers; made from a few of them.
    """
    some = pictures[:: max(1, len(pictures) // 4)]
    sample = Image.new("RGB", (some[0].width, sum(picture.height for picture in some)))
    for index, picture in enumerate(some):
        sample.paste(picture, (0, index * picture.height))
    palette = sample.quantize(colors=128, method=Image.Quantize.MEDIANCUT)
    small = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    pause = [round(1000 * frame_s)] * (len(small) - 1) + [round(1000 * hold_s)]
    partial = path.with_name(f".{path.name}.part")
    small[0].save(partial, format="GIF", save_all=True, append_images=small[1:], duration=pause, loop=0)
    partial.replace(path)


def draw_frame(stage: Stage, step: int, share: float) -> tuple[Image.Image, str]:
    """One picture, ``share`` of the way from instant ``step`` to the next, and its time and speed in words."""
    clip, agents = stage.clip, stage.agents(step, share)
    happened = step >= clip.event_step
    here = agents["position"][clip.agent, :2]
    view, background = stage.window(here)
    background = _marked(background, view, lambda brush, big: _draw_way(brush, big, stage, agents, step))
    centre = (view.left_m + 0.5 * EXTENT_M, view.top_m - 0.5 * EXTENT_M)
    image = draw_world(
        stage.road_map, agents, stage.lights(step), centre=centre, extent_m=EXTENT_M, size_px=stage.size_px,
        background=background,
    )  # fmt: skip
    told = {ARRIVAL: GOAL, UNFINISHED: FOLLOWED}.get(clip.event, ALARM)
    colour = told if happened else FOLLOWED
    image = _marked(image, view, lambda brush, big: _ring(brush, big, here, 5.0, colour, 3))
    if colour != FOLLOWED:
        _banner(image, clip.outcome, colour)
    speed = 0.0 if happened and clip.event in ENDINGS else float(agents["speed"][clip.agent])
    time_s = (step + share) * clip.episodes.config.timestep_s
    return image, f"{time_s:.2f} s   {3.6 * speed + 0.0:.0f} km/h"


def _marked(image: Image.Image, view: View, draw: Callable[[Brush, View], None]) -> Image.Image:
    """The picture with smooth marks on it."""
    big = view.enlarged(SHARPNESS)
    layer = Image.new("RGBA", (big.width, big.height), (0, 0, 0, 0))
    draw(ImageDraw.Draw(layer), big)
    return Image.alpha_composite(image.convert("RGBA"), layer.reduce(SHARPNESS)).convert("RGB")


def _ring(brush: Brush, view: View, centre: np.ndarray, radius_m: float, colour: Colour, px: int) -> None:
    (x, y), reach = view.pixels(np.asarray(centre)[None, :2])[0], radius_m * view.scale
    brush.ellipse((x - reach, y - reach, x + reach, y + reach), outline=(*colour, 255), width=px * SHARPNESS)


def _draw_way(brush: Brush, view: View, stage: Stage, agents: dict[str, np.ndarray], step: int) -> None:
    """The route from the agent to its last goal, and the goals that are left."""
    goals, radius_m, last_m = stage.goals_ahead(step)
    if not len(goals):
        return
    line = stage.route_ahead(float(agents["route_m"][stage.clip.agent]), last_m)
    if len(line) > 1:
        width = round(0.7 * view.scale)
        brush.line(view.pixels(line), fill=(*FOLLOWED, 110), width=width, joint="curve")
    for goal in goals:
        _ring(brush, view, goal, radius_m, GOAL, 2)
        _ring(brush, view, goal, 0.8, GOAL, 3)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _banner(image: Image.Image, text: str, colour: Colour) -> None:
    brush, font = ImageDraw.Draw(image), _font(18)
    middle = image.width / 2
    half = 0.5 * brush.textlength(text.upper(), font=font) + 12
    brush.rounded_rectangle((middle - half, 12, middle + half, 42), radius=6, fill=colour)
    brush.text((middle, 27), text.upper(), fill=INK, font=font, anchor="mm")


def framed(image: Image.Image, stage: Stage, title: str, numbers: str) -> Image.Image:
    """The picture between its caption, two lines, and the legend of those who are there."""
    sheet = Image.new("RGB", (image.width, TITLE_PX + image.height + LEGEND_PX), INK)
    sheet.paste(image, (0, TITLE_PX))
    brush, large, small = ImageDraw.Draw(sheet), *map(_font, (15, 12))
    first, _, second = title.partition("\n")
    brush.text((8, 5), first, fill=PAPER, font=large)
    fitting = min(12.0, 12.0 * (image.width - 16) / max(brush.textlength(second, font=small), 1.0))
    brush.text((8, 25), second, fill=FAINT, font=_font(fitting))
    brush.text((image.width - 8, 5), numbers, fill=PAPER, font=large, anchor="ra")
    present = stage.instants.present[:, stage.clip.world].any(axis=0)
    x, y = 8.0, sheet.height - LEGEND_PX / 2
    for index, (name, colour) in enumerate(COLOURS.items()):
        if (present & (stage.role == index)).any():
            brush.rectangle((x, y - 5, x + 10, y + 5), fill=colour)
            brush.text((x + 15, y), name, fill=FAINT, font=small, anchor="lm")
            x += 15 + brush.textlength(name, font=small) + 16
    return sheet
