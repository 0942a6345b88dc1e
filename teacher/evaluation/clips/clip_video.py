"""Videos of single agent-episodes from above; the window follows one agent up to the event of its clip.

Each is a GIF in real time and a filmstrip of six of its frames (PNG), of which the last shows the event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gigapixel.run_folder.atomic import atomic_write
from gigapixel.run_folder.figure import write_image
from gigapixel.run_folder.image_grid import GridCell, GridStyle, image_grid, load_font, split_rows
from simulator.drawing.top_down import draw_world
from simulator.drawing.viewport import Colour, Viewport
from teacher.evaluation.clips.clip_scene import AGENT_COLOURS, ClipScene
from teacher.evaluation.clips.clip_selection import ARRIVAL, COLLISION, OFFROAD, UNFINISHED, Clip

CLIP_EXTENT_M = 60.0
SIZE_PX = 480
FRAME_S = 0.125
"""Longest time between two frames; poses are interpolated between two steps."""
HOLD_S = 1.5
"""Time for which the last frame is shown."""
MARK_SUPERSAMPLING = 3  # of routes, goals and marks
TITLE_PX, LEGEND_PX = 44, 22
FRAME_COLOUR, TITLE_COLOUR, FAINT_COLOUR = (24, 26, 30), (235, 238, 242), (150, 158, 170)
FAILURE_COLOUR: Colour = (255, 84, 84)
GOAL_COLOUR: Colour = (74, 222, 128)
AGENT_COLOUR = AGENT_COLOURS["this agent"]
FILMSTRIP_FRAMES = 6
TERMINAL_EVENTS = (COLLISION, OFFROAD)
"""Events after which the agent is stationary."""

Brush = ImageDraw.ImageDraw


def write_clip(clip: Clip, title: str, folder: Path, name: str) -> list[Path]:
    """Write ``name``.gif and ``name``.png into the folder and return the paths; ``title`` has one or two lines."""
    timestep_s = clip.episodes.config.timestep_s
    frames_per_step = max(1, int(np.ceil(timestep_s / FRAME_S - 1e-6)))
    scene = ClipScene(clip, SIZE_PX, CLIP_EXTENT_M)
    times = [
        (step, part / frames_per_step)
        for step in range(clip.first_step, clip.last_step)
        for part in range(frames_per_step)
    ]
    times.append((clip.last_step, 0.0))
    drawn = [draw_frame(scene, *when) for when in times]
    frames = [add_title_and_legend(image, scene, title, status) for image, status in drawn]
    cells = [GridCell(*drawn[(step - clip.first_step) * frames_per_step]) for step in filmstrip_steps(clip)]
    filmstrip = add_title_and_legend(image_grid(split_rows(cells, 3)), scene, title, "")
    video, still = folder / f"{name}.gif", folder / f"{name}.png"
    save_gif(frames, timestep_s / frames_per_step, video, HOLD_S)
    write_image(still, filmstrip)
    return [video, still]


def filmstrip_steps(clip: Clip) -> list[int]:
    """At most FILMSTRIP_FRAMES steps for the filmstrip; the last is the event. They are denser before a failure."""
    span = clip.event_step - clip.first_step
    shares = np.linspace(1.0, 0.0, FILMSTRIP_FRAMES)
    if clip.event not in (ARRIVAL, UNFINISHED) and span >= 2 * FILMSTRIP_FRAMES:
        shares = shares**2
    return sorted({clip.event_step - round(share * span) for share in shares.tolist()})


def save_gif(pictures: Sequence[Image.Image], frame_s: float, path: Path, hold_s: float) -> None:
    """Write a GIF atomically, with frames of `frame_s` and a last frame of `hold_s`.

    All frames share one palette, so that colours do not flicker; it is computed from a few of them.
    """
    some = pictures[:: max(1, len(pictures) // 4)]
    sample = image_grid([[picture] for picture in some], GridStyle(gap_px=0))
    palette = sample.quantize(colors=128, method=Image.Quantize.MEDIANCUT)
    small = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    pause = [round(1000 * frame_s)] * (len(small) - 1) + [round(1000 * hold_s)]
    with atomic_write(path) as temporary:
        small[0].save(temporary, format="GIF", save_all=True, append_images=small[1:], duration=pause, loop=0)


def draw_frame(scene: ClipScene, step: int, share: float) -> tuple[Image.Image, str]:
    """The frame at a fraction ``share`` of the time from ``step`` to the next step, and its time and speed in words."""
    clip, agents = scene.clip, scene.agents(step, share)
    happened = step >= clip.event_step
    here = agents["position"][clip.agent, :2]
    view, background = scene.window(here)
    background = _with_marks(
        background, view, lambda brush, big: _draw_route(brush, big, scene, agents, step)
    )
    centre = (view.left_m + 0.5 * CLIP_EXTENT_M, view.top_m - 0.5 * CLIP_EXTENT_M)
    image = draw_world(
        scene.road_map, agents, scene.lights(step), centre=centre, extent_m=CLIP_EXTENT_M, size_px=scene.size_px,
        background=background,
    )  # fmt: skip
    event_colour = {ARRIVAL: GOAL_COLOUR, UNFINISHED: AGENT_COLOUR}.get(clip.event, FAILURE_COLOUR)
    colour = event_colour if happened else AGENT_COLOUR
    image = _with_marks(image, view, lambda brush, big: _ring(brush, big, here, 5.0, colour, 3))
    if colour != AGENT_COLOUR:
        _banner(image, clip.outcome, colour)
    speed = 0.0 if happened and clip.event in TERMINAL_EVENTS else float(agents["speed"][clip.agent])
    time_s = (step + share) * clip.episodes.config.timestep_s
    return image, f"{time_s:.2f} s   {3.6 * speed + 0.0:.0f} km/h"


def _with_marks(image: Image.Image, view: Viewport, draw: Callable[[Brush, Viewport], None]) -> Image.Image:
    """The image with anti-aliased marks, which `draw` draws in an enlarged viewport."""
    big = view.enlarged(MARK_SUPERSAMPLING)
    layer = Image.new("RGBA", (big.width, big.height), (0, 0, 0, 0))
    draw(ImageDraw.Draw(layer), big)
    return Image.alpha_composite(image.convert("RGBA"), layer.reduce(MARK_SUPERSAMPLING)).convert("RGB")


def _ring(brush: Brush, view: Viewport, centre: np.ndarray, radius_m: float, colour: Colour, px: int) -> None:
    (x, y), reach = view.pixels(np.asarray(centre)[None, :2])[0], radius_m * view.scale
    brush.ellipse(
        (x - reach, y - reach, x + reach, y + reach), outline=(*colour, 255), width=px * MARK_SUPERSAMPLING
    )


def _draw_route(
    brush: Brush, view: Viewport, scene: ClipScene, agents: dict[str, np.ndarray], step: int
) -> None:
    """The route from the agent to its last goal, and the goals that it has not reached."""
    goals, radius_m, last_m = scene.goals_ahead(step)
    if not len(goals):
        return
    line = scene.route_ahead(float(agents["route_m"][scene.clip.agent]), last_m)
    if len(line) > 1:
        width = round(0.7 * view.scale)
        brush.line(view.pixels(line), fill=(*AGENT_COLOUR, 110), width=width, joint="curve")
    for goal in goals:
        _ring(brush, view, goal, radius_m, GOAL_COLOUR, 2)
        _ring(brush, view, goal, 0.8, GOAL_COLOUR, 3)


def _banner(image: Image.Image, text: str, colour: Colour) -> None:
    brush, font = ImageDraw.Draw(image), load_font(18)
    middle = image.width / 2
    half = 0.5 * brush.textlength(text.upper(), font=font) + 12
    brush.rounded_rectangle((middle - half, 12, middle + half, 42), radius=6, fill=colour)
    brush.text((middle, 27), text.upper(), fill=FRAME_COLOUR, font=font, anchor="mm")


def add_title_and_legend(image: Image.Image, scene: ClipScene, title: str, status: str) -> Image.Image:
    """The image between a title of up to two lines, with ``status`` at the right, and a legend of the agents shown."""
    framed = Image.new("RGB", (image.width, TITLE_PX + image.height + LEGEND_PX), FRAME_COLOUR)
    framed.paste(image, (0, TITLE_PX))
    brush, large, small = ImageDraw.Draw(framed), *map(load_font, (15, 12))
    first, _, second = title.partition("\n")
    brush.text((8, 5), first, fill=TITLE_COLOUR, font=large)
    fitting = min(12.0, 12.0 * (image.width - 16) / max(brush.textlength(second, font=small), 1.0))
    brush.text((8, 25), second, fill=FAINT_COLOUR, font=load_font(fitting))
    brush.text((image.width - 8, 5), status, fill=TITLE_COLOUR, font=large, anchor="ra")
    present = scene.states.present[:, scene.clip.world].any(axis=0)
    x, y = 8.0, framed.height - LEGEND_PX / 2
    for index, (name, colour) in enumerate(AGENT_COLOURS.items()):
        if (present & (scene.colour_index == index)).any():
            brush.rectangle((x, y - 5, x + 10, y + 5), fill=colour)
            brush.text((x + 15, y), name, fill=FAINT_COLOUR, font=small, anchor="lm")
            x += 15 + brush.textlength(name, font=small) + 16
    return framed
