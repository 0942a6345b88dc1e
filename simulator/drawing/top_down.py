"""Top-down images of a map, its agents, lights and routes, drawn with Pillow.

Images are drawn TOP_DOWN_SUPERSAMPLING times too large and averaged down, which smooths edges. North is up, east is
right. For videos, draw the map once with `draw_map` and pass the result to `draw_world` as `background`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from PIL import Image, ImageDraw, ImageFont

from simulator.drawing.overpass_order import Overpasses
from simulator.drawing.viewport import SLATE, Colour, Palette, Viewport
from simulator.roads.polylines import arc_length, interpolated, offset_line
from simulator.roads.road_map import MarkingType, RoadMap, StopKind

TOP_DOWN_SUPERSAMPLING = 2
DASH_M, GAP_M = 3.0, 4.5  # lengths in dashed markings
STRIPE_M = 0.55  # width of a crosswalk stripe and of the gap beside it


def draw_map(
    road_map: RoadMap,
    centre: Float[np.ndarray, " 2"] | Sequence[float | int] | None = None,
    extent_m: float | int | None = None,
    size_px: int | tuple[int, int] = 900,
    palette: Palette = SLATE,
    stop_lines: bool = True,
    scale_bar: bool = True,
) -> Image.Image:
    """The map from above: `extent_m` metres across around `centre` (x, y), or all of it."""
    view = Viewport.of(road_map, centre, extent_m, size_px)
    big = view.enlarged(TOP_DOWN_SUPERSAMPLING)
    image = Image.new("RGB", (big.width, big.height), palette.ground)
    brush = ImageDraw.Draw(image)
    for ring in _visible(road_map.pieces("walkway"), big):
        brush.polygon(big.pixels(ring), fill=palette.walkway)
    rings = sorted(_visible(road_map.pieces("drivable"), big), key=lambda ring: float(ring[:, 2].mean()))
    overpasses = Overpasses(road_map)
    _roads(brush, big, road_map, rings, None, palette)
    bridges = overpasses.upper(rings)
    if bridges:  # once more, over the markings and kerbs of the roads below
        _roads(brush, big, road_map, bridges, overpasses, palette)
    if stop_lines:
        _stop_lines(brush, big, road_map, None, palette)
    image = image.reduce(TOP_DOWN_SUPERSAMPLING)
    if scale_bar:
        _scale_bar(image, view, palette)
    return image


def draw_world(
    road_map: RoadMap,
    agents: Mapping[str, np.ndarray],
    light_state: Int[np.ndarray, " stops"] | None = None,
    routes: Sequence[np.ndarray] | np.ndarray | None = None,
    centre: Float[np.ndarray, " 2"] | Sequence[float | int] | None = None,
    extent_m: float | int | None = None,
    size_px: int | tuple[int, int] = 900,
    palette: Palette = SLATE,
    background: Image.Image | None = None,
) -> Image.Image:
    """The map with agents, lights and routes.

    agents: position [n, 3] m, yaw [n] rad, size [n, 3] m (length, width, height), and optionally kind [n]
    (0 car, 1 truck, 2 cyclist, 3 pedestrian), colour [n, 3] 0-255, present [n] bool (others are left out),
    crashed [n] bool (outlined in red). light_state: per stop line of this map 0 off, 1 green, 2 yellow, 3 red.
    routes: per agent a line [p, 2 or 3] m. background: an earlier `draw_map` of the same view.
    """
    _check_agents(agents)
    if background is None:
        background = draw_map(road_map, centre, extent_m, size_px, palette, stop_lines=light_state is None)
    view = Viewport.of(road_map, centre, extent_m, size_px)
    if background.size != (view.width, view.height):
        raise ValueError(
            f"background is {background.size} pixels; expected {(view.width, view.height)} like size_px"
        )
    big = view.enlarged(TOP_DOWN_SUPERSAMPLING)
    layer = background.convert("RGB").resize((big.width, big.height), Image.Resampling.NEAREST)
    brush = ImageDraw.Draw(layer)
    shown = np.asarray(agents.get("present", np.ones(len(agents["yaw"]), bool)), bool)
    colours = _agent_colours(agents, palette)
    for index, route in enumerate(() if routes is None else routes):
        line = np.asarray(route, np.float64)
        if shown[index] and len(line) > 1 and big.sees(line):
            _line(brush, big, line, _mix(palette.road, colours[index], 0.55), 0.5)
    if light_state is not None:
        _stop_lines(brush, big, road_map, np.asarray(light_state), palette)
    # In order of height, so that agents on a bridge hide those below it.
    for index in np.argsort(np.asarray(agents["position"])[:, 2], kind="stable"):
        if shown[index]:
            _agent(brush, big, agents, int(index), colours[index], palette)
    return layer.reduce(TOP_DOWN_SUPERSAMPLING)


def _check_agents(agents: Mapping[str, np.ndarray]) -> None:
    for name, tail in (("position", (3,)), ("yaw", ()), ("size", (3,))):
        if name not in agents:
            raise ValueError(f"agents lacks {name!r}; expected position [n, 3], yaw [n] and size [n, 3]")
        value = np.asarray(agents[name])
        if value.shape != (len(agents["yaw"]), *tail):
            raise ValueError(
                f"agents[{name!r}] has shape {value.shape}; expected {(len(agents['yaw']), *tail)}"
            )


def _visible(pieces: Sequence[np.ndarray], view: Viewport) -> list[np.ndarray]:
    return [piece for piece in pieces if view.sees(piece)]


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def _line(
    brush: ImageDraw.ImageDraw, view: Viewport, line: np.ndarray, colour: Colour, width_m: float
) -> None:
    width = max(TOP_DOWN_SUPERSAMPLING, round(width_m * view.scale))
    brush.line(view.pixels(line), fill=colour, width=width, joint="curve")


def _roads(
    brush: ImageDraw.ImageDraw, view: Viewport, road_map: RoadMap, rings: Sequence[np.ndarray],
    overpasses: Overpasses | None, palette: Palette,
) -> None:  # fmt: skip
    """Draw road surface, markings and kerbs; with `overpasses`, without what is below a bridge."""

    def shown(line: np.ndarray) -> list[np.ndarray]:
        return [line] if overpasses is None else overpasses.without_lower(line.astype(np.float64))

    for ring in rings:  # the outline covers thin gaps between neighbouring lanes
        brush.polygon(view.pixels(ring), fill=palette.road, outline=palette.road)
    for ring in _visible(road_map.pieces("crosswalk"), view):
        if overpasses is None or (overpasses.level(ring) >= 0).all():
            _crosswalk(brush, view, ring, palette)
    for line, kind in zip(road_map.pieces("marking"), road_map.marking_type, strict=True):
        if view.sees(line):
            for stroke, colour, width_m in _strokes(view, line, MarkingType(int(kind)), palette):
                for part in shown(stroke):
                    _line(brush, view, part, colour, width_m)
    for line in _visible(road_map.pieces("edge"), view):
        for part in shown(line):
            _line(brush, view, part, palette.kerb, 0.22)


def _strokes(
    view: Viewport, line: np.ndarray, kind: MarkingType, palette: Palette
) -> list[tuple[np.ndarray, Colour, float]]:
    """Lines [n, 3], colours and widths (m) that make up one painted line."""
    line = line.astype(np.float64)
    colour = palette.white if kind <= MarkingType.DOUBLE_WHITE else palette.yellow
    if view.scale < 2.0 * TOP_DOWN_SUPERSAMPLING:  # at small scales patterns alias: one faint line
        return [(line, _mix(palette.road, colour, 0.45), 0.15)]
    if kind in (MarkingType.DOUBLE_WHITE, MarkingType.DOUBLE_YELLOW):
        return [(offset_line(line, np.full(len(line), side)), colour, 0.13) for side in (-0.16, 0.16)]
    if kind in (MarkingType.DASHED_WHITE, MarkingType.DASHED_YELLOW):
        return [(dash, colour, 0.15) for dash in _dashes(line)]
    return [(line, colour, 0.15)]


def _dashes(line: np.ndarray) -> list[np.ndarray]:
    arc = arc_length(line[:, :2])
    starts = np.arange(GAP_M / 2, arc[-1], DASH_M + GAP_M)
    return [interpolated(line, arc, np.linspace(start, min(start + DASH_M, arc[-1]), 4)) for start in starts]


def _crosswalk(brush: ImageDraw.ImageDraw, view: Viewport, ring: np.ndarray, palette: Palette) -> None:
    """Draw stripes across the longer side of the outline, or a pale area at small scales."""
    points = ring[:, :2].astype(np.float64)
    sides = np.roll(points, -1, axis=0) - points
    longest = sides[np.argmax(np.linalg.norm(sides, axis=1))]
    across = longest / max(float(np.linalg.norm(longest)), 1e-9)
    along = np.array([-across[1], across[0]])
    low_u, high_u = (points @ across).min(), (points @ across).max()
    low_v, high_v = (points @ along).min(), (points @ along).max()
    if view.scale < 2.0 * TOP_DOWN_SUPERSAMPLING:
        brush.polygon(view.pixels(points), fill=_mix(palette.road, palette.crosswalk, 0.4))
        return
    count = max(1, int((high_u - low_u) // (2 * STRIPE_M)))
    for middle in low_u + (np.arange(count) + 0.5) * (high_u - low_u) / count:
        corners = [(-1, low_v), (1, low_v), (1, high_v), (-1, high_v)]
        stripe = np.array([(middle + side * STRIPE_M / 2) * across + v * along for side, v in corners])
        brush.polygon(view.pixels(stripe), fill=palette.crosswalk)


def _stop_lines(
    brush: ImageDraw.ImageDraw, view: Viewport, road_map: RoadMap, state: np.ndarray | None, palette: Palette
) -> None:
    if state is not None and state.shape != road_map.stop_line_yaw.shape:
        raise ValueError(
            f"light_state has shape {state.shape}; expected {road_map.stop_line_yaw.shape}, one per stop line"
        )
    for index, ends in enumerate(road_map.stop_line_xyz):
        if not view.sees(ends):
            continue
        lit = state is not None and road_map.stop_line_kind[index] == StopKind.TRAFFIC_LIGHT
        level = int(state[index]) if lit and state is not None else 0
        if level > 0:
            _line(brush, view, ends, _mix(palette.road, palette.lights[level], 0.35), 1.6)
        _line(brush, view, ends, palette.lights[level], 0.7 if level > 0 else 0.45)


def _agent_colours(agents: Mapping[str, np.ndarray], palette: Palette) -> list[Colour]:
    count = len(agents["yaw"])
    if "colour" in agents:
        return [tuple(int(c) for c in row) for row in np.asarray(agents["colour"])]  # type: ignore[misc]
    kinds = np.asarray(agents.get("kind", np.zeros(count, int))).astype(int)
    return [
        palette.cars[i % len(palette.cars)] if kinds[i] <= 0 else palette.kinds[kinds[i] - 1]
        for i in range(count)
    ]


def _agent(
    brush: ImageDraw.ImageDraw, view: Viewport, agents: Mapping[str, np.ndarray], index: int, colour: Colour,
    palette: Palette,
) -> None:  # fmt: skip
    """Draw a rounded box with a shadow, and a pale wedge that points ahead."""
    centre = np.asarray(agents["position"][index], np.float64)[:2]
    if not view.sees(centre[None] + np.array([[-8.0, -8.0], [8.0, 8.0]])):
        return
    yaw = float(agents["yaw"][index])
    smallest = 2.5 * TOP_DOWN_SUPERSAMPLING / view.scale  # keeps agents visible at small scales
    length, width = (max(float(side), smallest) for side in agents["size"][index][:2])
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    body = _rounded_box(length, width)
    crashed = "crashed" in agents and bool(agents["crashed"][index])
    rim = palette.lights[3] if crashed else _mix(colour, palette.shadow, 0.6)
    lift = np.array([0.18, -0.18])
    brush.polygon(view.pixels(body @ turn.T + centre + lift), fill=palette.shadow)
    brush.polygon(view.pixels(body * (1.0 + 0.24 / np.array([length, width])) @ turn.T + centre), fill=rim)
    brush.polygon(
        view.pixels(body @ turn.T + centre), fill=_mix(colour, palette.shadow, 0.45) if crashed else colour
    )
    wedge = np.array([[0.44 * length, 0.0], [0.12 * length, 0.32 * width], [0.12 * length, -0.32 * width]])
    brush.polygon(view.pixels(wedge @ turn.T + centre), fill=_mix(colour, (255, 255, 255), 0.75))


def _rounded_box(length: float, width: float) -> np.ndarray:
    """Outline [points, 2] of a rounded rectangle around the origin, front towards +x."""
    radius = 0.3 * min(length, width)
    quarter = np.linspace(0.0, np.pi / 2, 6)
    arc = radius * np.stack([np.cos(quarter), np.sin(quarter)], axis=1)
    corner = np.array([length / 2 - radius, width / 2 - radius])
    flips = ((1, 1, 1), (-1, 1, -1), (-1, -1, 1), (1, -1, -1))  # x sign, y sign, direction around the corner
    return np.concatenate([((arc + corner) * (sx, sy))[::step] for sx, sy, step in flips])


def _scale_bar(image: Image.Image, view: Viewport, palette: Palette) -> None:
    """Draw a bar of a round number of metres into the lower left corner, except on images narrower than 200 pixels."""
    if view.width < 200:
        return
    target = 0.18 * view.width / view.scale
    power = 10.0 ** np.floor(np.log10(target))
    metres = max(step * power for step in (1.0, 2.0, 5.0) if step * power <= target)
    left, bottom = 14.0, view.height - 14.0
    right = left + metres * view.scale
    brush = ImageDraw.Draw(image)
    brush.line(
        [(left, bottom - 5), (left, bottom), (right, bottom), (right, bottom - 5)], fill=palette.text, width=1
    )
    font = ImageFont.load_default(size=12)
    brush.text(((left + right) / 2, bottom - 4), f"{metres:g} m", fill=palette.text, font=font, anchor="ms")
