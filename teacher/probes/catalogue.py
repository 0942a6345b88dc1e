"""The probes by name, and how one is run with any policy.

To add a probe, write a file in `teacher/probes/scenarios` with `draw`, `judge` and `PROBE`, and add the file here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache

import jax
import numpy as np
from jaxtyping import Array, Key

from simulator.atlas.road_atlas import RoadAtlas, build_atlas
from simulator.config import SimulatorConfig
from simulator.rollout import PolicyFn
from simulator.state import WorldState
from teacher.probes.drive import ProbeRun, Trace, record, watched_lines
from teacher.probes.maps import roads
from teacher.probes.probe import Probe
from teacher.probes.scenarios import (
    blocked_lane,
    bottleneck,
    deadlock,
    four_way_stop,
    red_light,
    unprotected_turn,
)
from teacher.probes.starts import Trial, start_trials

PROBES: dict[str, Probe] = {
    module.PROBE.name: module.PROBE
    for module in (bottleneck, unprotected_turn, blocked_lane, red_light, four_way_stop, deadlock)
}
AGENTS, GOALS, STATIONS = 8, 6, 192
"""Array sizes of every world, so that one compiled program serves all probes; the longest route to a last goal is
208 m."""

DriveFn = Callable[[Key[Array, ""], WorldState, np.ndarray, RoadAtlas], tuple[WorldState, Trace]]


@cache
def probe_atlas() -> RoadAtlas:
    """One atlas with the maps of all probes."""
    return build_atlas(list(roads().values()))


def probe_simulator(simulator: SimulatorConfig, probes: Sequence[Probe] = ()) -> SimulatorConfig:
    """The simulator with the array sizes of probes, an episode long enough for ``probes`` (default: all), and without
    faulty agents or faulty lights."""
    seconds = max(probe.seconds for probe in probes or PROBES.values())
    return dataclasses.replace(
        simulator,
        num_agents=AGENTS,
        num_goals=GOALS,
        route_stations=STATIONS,
        episode_s=seconds,
        map_variants=1,
        blind_share=0.0,
        braker_share=0.0,
        removed_light_share=0.0,
        always_green_share=0.0,
        green_s=10.0,
        yellow_s=3.0,
        all_red_s=2.0,
    )


def draw_trials(probe: Probe, count: int, seed: int) -> list[Trial]:
    """Random trials of a probe. They depend on ``seed`` and the probe only: a larger ``count`` adds trials at the
    end."""
    generator = np.random.default_rng([seed, list(PROBES).index(probe.name)])
    return [probe.draw(generator, number) for number in range(count)]


def compile_drive(policy_fn: PolicyFn, config: SimulatorConfig) -> DriveFn:
    """`record` with this policy, jitted; make it once for all probes."""
    return jax.jit(lambda key, worlds, lines, atlas: record(key, worlds, lines, policy_fn, atlas, config))


def run_trials(
    probe: Probe, trials: Sequence[Trial], drive: DriveFn, seed: int, config: SimulatorConfig
) -> tuple[ProbeRun, WorldState]:
    """The trials after the probe's time, and their initial worlds."""
    atlas = probe_atlas()
    worlds = start_trials(trials, atlas, config)
    key = jax.random.fold_in(jax.random.key(seed), list(PROBES).index(probe.name))
    _, trace = drive(key, worlds, watched_lines(trials, atlas), atlas)
    rows = round(probe.seconds / config.timestep_s) + 1
    cut = Trace(*(np.asarray(leaf)[:rows] for leaf in trace))
    return ProbeRun(trials, roads(), cut, config.timestep_s), worlds
