"""Pictures of probes: what is wanted in each, and a filmstrip of every way in which it failed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.draw_state import agents_to_draw, lights_to_draw, world_of
from simulator.drawing.top_down import draw_world
from simulator.drawing.viewport import SLATE
from simulator.roads.polylines import arc_length, interpolated
from simulator.state import PARKED, POLICY, WorldState
from teacher.evaluation.clips.filmstrip import in_a_row
from teacher.probes.drive import ProbeRun
from teacher.probes.judging import ProbeEvents
from teacher.probes.probe import Probe
from teacher.probes.starts import Trial

PANELS = 6
AFTER_S = 1.5
"""How long after a failure its filmstrip ends."""
_PARKED_COLOUR = (128, 132, 140)
_SQUARE_PX, _WIDE_PX = 460, 760
_WIDE = 0.4  # panels flatter than this go below each other


def draw_scene(
    probe: Probe, run: ProbeRun, worlds: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> Image.Image:
    """The start of the first trial of every variant, with the ways to the last goals."""
    variants = [trial.variant for trial in run.trials]
    chosen = [variants.index(variant) for variant in dict.fromkeys(variants)]
    panels = [
        _panel(probe, run, worlds, index, 0, _wanted(run.trials[index]), atlas, config) for index in chosen
    ]
    return in_a_row(panels, [variants[index] for index in chosen], min(_columns(probe), len(panels)))


def draw_failure(
    probe: Probe, run: ProbeRun, worlds: WorldState, index: int, moment_s: float, atlas: RoadAtlas,
    config: SimulatorConfig,
) -> Image.Image:  # fmt: skip
    """Six instants of one trial, from the start until shortly after the moment, with the paths driven so far."""
    last = min(round((moment_s + AFTER_S) / run.timestep_s), len(run.time_s) - 1)
    rows = np.unique(np.linspace(0, last, PANELS).round().astype(int))
    panels = [
        _panel(probe, run, worlds, index, int(row), _driven(run, index, int(row)), atlas, config)
        for row in rows
    ]
    return in_a_row(panels, [f"{run.time_s[row]:.1f} s" for row in rows], _columns(probe))


def save_pictures(
    folder: Path, probe: Probe, run: ProbeRun, worlds: WorldState, events: ProbeEvents, atlas: RoadAtlas,
    config: SimulatorConfig,
) -> list[Path]:  # fmt: skip
    """`<probe>.png`, and `<probe>_<event>.png` for the first trial with each event; returns what was written."""
    images: Mapping[str, Image.Image] = {probe.name: draw_scene(probe, run, worlds, atlas, config)}
    for name, moments in events.items():
        failed = np.flatnonzero(np.isfinite(moments))
        if len(failed):
            index = int(failed[0])
            image = draw_failure(probe, run, worlds, index, float(moments[index]), atlas, config)
            images = {**images, f"{probe.name}_{name}": image}
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        partial = folder / f".{name}.png.part"
        image.save(partial, format="PNG")
        partial.replace(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in images]


def _columns(probe: Probe) -> int:
    return 1 if probe.window[2] < _WIDE else 3


def _panel(
    probe: Probe, run: ProbeRun, worlds: WorldState, index: int, row: int, lines: list[np.ndarray],
    atlas: RoadAtlas, config: SimulatorConfig,
) -> Image.Image:  # fmt: skip
    centre, extent_m, aspect = probe.window
    width = _WIDE_PX if aspect < _WIDE else _SQUARE_PX
    state = _state_at(run, world_of(worlds, index), index, row)
    return draw_world(
        run.roads[run.trials[index].road],
        _coloured(agents_to_draw(state), state),
        lights_to_draw(state, atlas, config),
        routes=lines,
        centre=np.array(centre),
        extent_m=extent_m,
        size_px=(width, round(width * aspect)),
    )


def _coloured(agents: dict[str, np.ndarray], state: WorldState) -> dict[str, np.ndarray]:
    """With parked cars in grey."""
    cars = np.array(SLATE.cars)[np.arange(len(agents["yaw"])) % len(SLATE.cars)]
    parked = np.asarray(state.scenario.control) == PARKED
    return agents | {"colour": np.where(parked[:, None], np.array(_PARKED_COLOUR), cars)}


def _state_at(run: ProbeRun, start: WorldState, index: int, row: int) -> WorldState:
    """The world of a trial at a row of its trace, as far as pictures show it."""
    trace = run.trace
    xy = np.stack([trace.x[row, index], trace.y[row, index]], axis=-1)
    position = np.concatenate([xy, np.asarray(start.position)[:, 2:]], axis=-1)
    driven = np.asarray(start.scenario.control) == POLICY
    return start.replace(
        step=np.int32(row),
        position=position,
        yaw=trace.yaw[row, index],
        present=trace.present[row, index],
        active=np.where(driven, trace.active[row, index], start.active),
    )


def _wanted(trial: Trial) -> list[np.ndarray]:
    """From each start to the last goal."""
    lines = []
    for driver in trial.drivers:
        end = driver.start_m if driver.parked else driver.goals_m[-1]
        places = np.arange(driver.start_m, end + 1.0, 1.0)
        lines.append(interpolated(driver.path, arc_length(driver.path), places))
    return lines


def _driven(run: ProbeRun, index: int, row: int) -> list[np.ndarray]:
    """Where everybody has been so far."""
    x, y = run.trace.x[: row + 1, index], run.trace.y[: row + 1, index]
    return [np.column_stack([x[:, slot], y[:, slot]]) for slot in range(x.shape[1])]
