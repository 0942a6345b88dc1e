"""Images of probes: the initial state and goals of each variant, and a filmstrip of each kind of failure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from gigapixel.run_folder.figure import write_image
from gigapixel.run_folder.image_grid import GridCell, image_grid, split_rows
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.draw_state import agents_to_draw, lights_to_draw, world_of
from simulator.drawing.top_down import draw_world
from simulator.drawing.viewport import SLATE
from simulator.roads.polylines import arc_length, interpolated
from simulator.state import PARKED, POLICY, WorldState
from teacher.probes.drive import ProbeRun
from teacher.probes.judging import ProbeEvents
from teacher.probes.probe import Probe
from teacher.probes.starts import Trial

FAILURE_PANELS = 6
AFTER_FAILURE_S = 1.5
"""A filmstrip ends this long after its failure."""
_PARKED_COLOUR = (128, 132, 140)
_SQUARE_PX, _WIDE_PX = 460, 760
_WIDE = 0.4  # panels with a smaller height / width are stacked vertically


def draw_variants(
    probe: Probe, run: ProbeRun, worlds: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> Image.Image:
    """The initial state of the first trial of every variant, with the paths to the last goals."""
    variants = [trial.variant for trial in run.trials]
    chosen = [variants.index(variant) for variant in dict.fromkeys(variants)]
    cells = [
        GridCell(
            _panel(probe, run, worlds, index, 0, _planned(run.trials[index]), atlas, config), variants[index]
        )
        for index in chosen
    ]
    return image_grid(split_rows(cells, _columns(probe)))


def draw_failure(
    probe: Probe, run: ProbeRun, worlds: WorldState, index: int, time_s: float, atlas: RoadAtlas,
    config: SimulatorConfig,
) -> Image.Image:  # fmt: skip
    """FAILURE_PANELS states of one trial, from the start until shortly after ``time_s``, with the paths driven so
    far."""
    last = min(round((time_s + AFTER_FAILURE_S) / run.timestep_s), len(run.time_s) - 1)
    rows = np.unique(np.linspace(0, last, FAILURE_PANELS).round().astype(int))
    cells = [
        GridCell(
            _panel(probe, run, worlds, index, int(row), _driven(run, index, int(row)), atlas, config),
            f"{run.time_s[row]:.1f} s",
        )
        for row in rows
    ]
    return image_grid(split_rows(cells, _columns(probe)))


def save_pictures(
    folder: Path, probe: Probe, run: ProbeRun, worlds: WorldState, events: ProbeEvents, atlas: RoadAtlas,
    config: SimulatorConfig,
) -> list[Path]:  # fmt: skip
    """`<probe>.png`, and `<probe>_<event>.png` for the first trial with each event; returns the paths written."""
    images: Mapping[str, Image.Image] = {probe.name: draw_variants(probe, run, worlds, atlas, config)}
    for name, times in events.items():
        failed = np.flatnonzero(np.isfinite(times))
        if len(failed):
            index = int(failed[0])
            image = draw_failure(probe, run, worlds, index, float(times[index]), atlas, config)
            images = {**images, f"{probe.name}_{name}": image}
    for name, image in images.items():
        write_image(folder / f"{name}.png", image)
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
    """The agents with parked cars coloured grey."""
    cars = np.array(SLATE.cars)[np.arange(len(agents["yaw"])) % len(SLATE.cars)]
    parked = np.asarray(state.scenario.control) == PARKED
    return agents | {"colour": np.where(parked[:, None], np.array(_PARKED_COLOUR), cars)}


def _state_at(run: ProbeRun, start: WorldState, index: int, row: int) -> WorldState:
    """The state of a trial at a row of its trace, as far as images show it."""
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


def _planned(trial: Trial) -> list[np.ndarray]:
    """The path of each agent from its start to its last goal."""
    lines = []
    for driver in trial.drivers:
        end = driver.start_m if driver.parked else driver.goals_m[-1]
        places = np.arange(driver.start_m, end + 1.0, 1.0)
        lines.append(interpolated(driver.path, arc_length(driver.path), places))
    return lines


def _driven(run: ProbeRun, index: int, row: int) -> list[np.ndarray]:
    """The path that each agent has driven so far."""
    x, y = run.trace.x[: row + 1, index], run.trace.y[: row + 1, index]
    return [np.column_stack([x[:, slot], y[:, slot]]) for slot in range(x.shape[1])]
