"""Top-down images of logged scenes: the map, the trajectories of all tracks, and their boxes at one step."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from PIL import Image, ImageDraw, ImageFont

from gigapixel.run_folder.image_grid import GridStyle, image_grid, split_rows
from simulator.conventions import CAR
from simulator.drawing.top_down import draw_map, draw_world
from simulator.drawing.viewport import SLATE, Colour, Palette, Viewport
from simulator.logs.scene_pack import LoggedScene, ScenePack
from simulator.logs.traffic_log import TrafficLog

SCENE_MARGIN_M = 14.0  # around the traffic
LEAST_EXTENT_M = 60.0
INNER_SHARE = (
    0.98  # of all states that the window contains, so that single far ones do not determine its size
)
SCENE_SUPERSAMPLING = 2
TRAIL_M = 0.7  # width
PAST_ALPHA, FUTURE_ALPHA = (0.08, 0.85), (0.30, 0.08)  # from the first step to now, and from now to the last
EGO: Colour = (250, 204, 21)
SHEET_SCENES = 12
SHEET_COLUMNS = 4


def draw_scene(
    scene: LoggedScene,
    size_px: int | tuple[int, int] = 900,
    step: int | None = None,
    palette: Palette = SLATE,
) -> Image.Image:
    """One scene at one step (the middle one by default), with its trajectories as trails that fade with time."""
    log = scene.log
    step = log.num_steps // 2 if step is None else step
    if not 0 <= step < log.num_steps:
        raise ValueError(f"step {step} of scene {log.name} is not in 0 to {log.num_steps - 1}")
    width, height = (size_px, size_px) if isinstance(size_px, int) else size_px
    centre, extent_m = _window(log, width / height)
    colours = track_colours(log, palette)
    view = Viewport.of(scene.road_map, centre, extent_m, (width, height))
    ground = draw_map(scene.road_map, centre, extent_m, (width, height), palette, stop_lines=False)
    picture = _with_trails(ground, view, log, step, colours)
    agents = {
        "position": log.position[:, step], "yaw": log.yaw[:, step], "size": log.size, "kind": log.kind,
        "present": log.valid[:, step], "colour": colours,
    }  # fmt: skip
    picture = draw_world(
        scene.road_map,
        agents,
        log.light_state[:, step],
        None,
        centre,
        extent_m,
        (width, height),
        palette,
        picture,
    )
    _title(picture, scene, step, palette)
    return picture


def contact_sheet(pack: ScenePack, tile_px: int = 480, palette: Palette = SLATE) -> Image.Image:
    """An image grid of up to SHEET_SCENES scenes, evenly spaced in the pack."""
    chosen = np.unique(np.linspace(0, len(pack) - 1, min(SHEET_SCENES, len(pack))).round().astype(int))
    images = [draw_scene(pack[number], tile_px, palette=palette) for number in chosen.tolist()]
    return image_grid(split_rows(images, SHEET_COLUMNS), GridStyle(gap_px=10, background=palette.shadow))


def track_colours(log: TrafficLog, palette: Palette = SLATE) -> Int[np.ndarray, "tracks 3"]:
    """RGB colour of every track: by kind, cars in turn from the palette, the ego in EGO."""
    colours = [
        palette.cars[row % len(palette.cars)] if kind == CAR else palette.kinds[kind - 1]
        for row, kind in enumerate(log.kind.tolist())
    ]
    if log.ego_track >= 0:
        colours[log.ego_track] = EGO
    return np.array(colours)


def _window(log: TrafficLog, aspect: float) -> tuple[np.ndarray, float]:
    """Centre [2] and width (m) of a window that contains INNER_SHARE of all states."""
    seen = log.position[log.valid][:, :2].astype(np.float64)
    cut = (1.0 - INNER_SHARE) / 2
    low, high = np.quantile(seen, cut, axis=0), np.quantile(seen, 1.0 - cut, axis=0)
    spans = high - low + 2 * SCENE_MARGIN_M
    return (low + high) / 2, float(max(spans[0], spans[1] * aspect, LEAST_EXTENT_M))


def _with_trails(
    ground: Image.Image, view: Viewport, log: TrafficLog, step: int, colours: np.ndarray
) -> Image.Image:
    big = view.enlarged(SCENE_SUPERSAMPLING)
    layer = Image.new("RGBA", (big.width, big.height), (0, 0, 0, 0))
    brush = ImageDraw.Draw(layer)
    width = max(SCENE_SUPERSAMPLING, round(TRAIL_M * big.scale))
    for track in range(log.num_tracks):
        steps = np.flatnonzero(log.valid[track])
        if len(steps) < 2 or not big.sees(log.position[track, steps]):
            continue
        pixels = big.pixels(log.position[track, steps].astype(np.float64))
        for first, last, here in _pieces(steps, step, log.num_steps):
            brush.line(
                pixels[first : last + 1], fill=(*colours[track].tolist(), round(255 * here)), width=width
            )
    faded = layer.resize(ground.size, Image.Resampling.BOX)
    return Image.alpha_composite(ground.convert("RGBA"), faded).convert("RGB")


def _pieces(steps: np.ndarray, now: int, num_steps: int, each: int = 4) -> list[tuple[int, int, float]]:
    """(first vertex, last vertex, opacity) of short pieces of a trail: brightest at step `now`, fainter after it."""
    result = []
    for first in range(0, len(steps) - 1, each):
        last = min(first + each, len(steps) - 1)
        middle = (steps[first] + steps[last]) / 2
        if middle <= now:
            share, (low, high) = middle / max(now, 1), PAST_ALPHA
        else:
            share, (low, high) = (middle - now) / max(num_steps - now, 1), FUTURE_ALPHA
        result.append((first, last, low + share * (high - low)))
    return result


def _title(picture: Image.Image, scene: LoggedScene, step: int, palette: Palette) -> None:
    """Draw the name, source, number of tracks and time into the upper left corner."""
    log = scene.log
    seconds = log.num_steps * log.timestep_s
    lines = [
        (log.name[:40], 14, palette.text),
        (
            f"{log.source}   {log.num_tracks} tracks   {step * log.timestep_s:.1f} of {seconds:.1f} s",
            11,
            palette.kerb,
        ),
    ]
    brush = ImageDraw.Draw(picture, "RGBA")
    brush.rectangle((0, 0, picture.width, 42), fill=(*palette.ground, 190))
    for row, (text, size, colour) in enumerate(lines):
        brush.text((10, 5 + 19 * row), text, fill=colour, font=ImageFont.load_default(size=size))
