"""`python -m benchmarks.soak [--NAME VALUE ...]`: drive many worlds with random actions and check every state.

Worlds are driven in chunks, so that memory use does not depend on their number. Every step of every world is checked:
all floats of state and observation are finite, agents are inside their town and inside the limits of the dynamics.
`jax_debug_nans` is on as well. A failed check ends the run with an error message and exit code 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from gigapixel.bench.device_info import jax_device
from gigapixel.run_folder.atomic import write_text
from gigapixel.run_folder.exit_codes import run_command
from simulator.atlas.load import load_atlas
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.dynamics.bicycle import MAX_ACCELERATION, MAX_SPEED, MAX_STEERING, MIN_ACCELERATION, MIN_SPEED
from simulator.reset.placement import check_capacity
from simulator.roads.sources.map_cache import load_maps
from simulator.rollout import rollout
from simulator.state import WorldState
from teacher.config import TeacherConfig
from teacher.observation.observe import OBSERVATIONS
from teacher.ppo.environment import Environment, make_environment
from teacher.ppo.losses import PPOConfig
from teacher.ppo.rollout import reset_finished

MARGIN_M = 25.0
"""Agents stop where they leave the road, so none is farther outside the town than one step and its length."""
OBSERVATION_LIMIT = 1000.0
"""Observations are scaled to about [-1, 1]; distant goals reach a few tens."""
TOLERANCE = 1e-4  # for float32 at a limit
MEGABYTE = 1e6


class FailedCheckError(RuntimeError):
    """A state or observation that the simulator should never produce."""


@dataclass(frozen=True)
class SoakSettings:
    """Size of the run.

    Attributes:
        maps: towns, separated by commas; each world draws one at every reset.
        worlds, steps: total number of worlds, and steps of each.
        agents: agents per world.
        chunk: worlds driven at a time.
        block: steps after which the results of the checks are read.
        observation: `compact`, `lean` or `full`.
        seed: seed of the worlds and the actions.
    """

    maps: str = "Town01,Town02,Town03,Town04,Town05"
    worlds: int = 10_000
    steps: int = 1000
    agents: int = 4
    chunk: int = 500
    block: int = 100
    observation: str = "compact"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("worlds", "steps", "agents", "chunk", "block"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for part, whole in (("chunk", "worlds"), ("block", "steps")):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{part}={getattr(self, part)} must divide {whole}={getattr(self, whole)}; "
                    f"try --{part} {getattr(self, whole)}"
                )
        if self.observation not in OBSERVATIONS:
            raise ValueError(
                f"observation={self.observation!r} is unknown; expected {', '.join(OBSERVATIONS)}"
            )


def failed_checks(
    state: WorldState, observation: Any, bounds: Float[Array, "maps 2 2"]
) -> dict[str, Bool[Array, ""]]:
    """By name of the check whether it fails for any agent of a batch of worlds.

    Args:
        state: Fields [worlds, agents, ...].
        observation: Any pytree of arrays.
        bounds: Least and greatest (x, y) of each town, m.
    """
    town = bounds[state.map_id][:, None]  # [worlds, 1, 2, 2]
    xy, gain = state.position[..., :2], state.scenario
    within: dict[str, Array] = {
        "position inside the town": (xy > town[..., 0, :] - MARGIN_M) & (xy < town[..., 1, :] + MARGIN_M),
        "speed inside its limits": _between(state.speed, MIN_SPEED, MAX_SPEED * gain.speed_gain),
        "acceleration inside its limits": _between(
            state.acceleration, MIN_ACCELERATION, MAX_ACCELERATION * gain.acceleration_gain
        ),
        "steering inside its limits": _between(state.steering, -MAX_STEERING, MAX_STEERING),
        "yaw in [-pi, pi]": _between(state.yaw, -jnp.pi, jnp.pi),
    }
    failed = {check: ~jnp.all(holds) for check, holds in within.items()}
    for name, record in (("state", state), ("observation", observation)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(record):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                failed[f"{name}{jax.tree_util.keystr(path)} finite"] = ~jnp.all(jnp.isfinite(leaf))
                if name == "observation":
                    far = jnp.any(jnp.abs(leaf) > OBSERVATION_LIMIT)
                    failed[f"{name}{jax.tree_util.keystr(path)} below {OBSERVATION_LIMIT:g}"] = far
    return failed


def _between(value: Array, low: Any, high: Any) -> Array:
    return (value >= low - TOLERANCE) & (value <= high + TOLERANCE)


def soak(
    settings: SoakSettings,
    log: Callable[[str], None],
    checks: Callable[[WorldState, Any, Array], dict[str, Array]] = failed_checks,
) -> dict[str, Any]:
    """Drive all worlds and return the flat report.

    Args:
        settings: Size of the run.
        log: Called with a line of progress after every chunk.
        checks: Applied to every step, see `failed_checks`.

    Raises:
        FailedCheckError: A check failed; the message has the worlds, the steps and the names of the checks.
    """
    environment, towns = _environment(settings), settings.maps.split(",")
    atlas = load_atlas(towns)
    check_capacity(atlas, settings.agents)
    bounds = jnp.asarray([road_map.bounds() for road_map in load_maps(towns)], jnp.float32)
    drive = jax.jit(partial(_drive_block, environment, settings.block, checks))
    key, began, memory = jax.random.key(settings.seed), time.perf_counter(), [memory_mb()]
    agent_steps = episodes = 0
    with jax.debug_nans(True):
        for chunk in range(settings.worlds // settings.chunk):
            worlds = _blank_worlds(environment, atlas)
            for block in range(settings.steps // settings.block):
                key, drive_key = jax.random.split(key)
                worlds, counts, failed = drive(atlas, worlds, jnp.asarray(block == 0), bounds, drive_key)
                _raise_failed(failed, chunk, block, settings)
                agent_steps, episodes = agent_steps + int(counts[0]), episodes + int(counts[1])
            memory.append(memory_mb())
            done, seconds = (chunk + 1) * settings.chunk, time.perf_counter() - began
            log(f"{done} worlds, {agent_steps} agent-steps, {seconds:.0f} s, {memory[-1]:.0f} MB")
    return {
        "soak": "no fault",
        "agent_steps": agent_steps,
        "episodes": episodes,
        "wall_s": round(time.perf_counter() - began, 1),
        "memory_start_mb": round(memory[0]),
        "memory_after_first_chunk_mb": round(memory[1]),
        "memory_end_mb": round(memory[-1]),
        "device": jax_device(),
        "settings": asdict(settings),
    }


def _environment(settings: SoakSettings) -> Environment:
    config = TeacherConfig(
        maps=tuple(settings.maps.split(",")),
        num_worlds=settings.chunk,
        reset_chunk=max(1, settings.chunk // 32),
        simulator=SimulatorConfig(num_agents=settings.agents),
        observation=OBSERVATIONS[settings.observation],
        ppo=PPOConfig(minibatch_size=1),  # unused: nothing is trained
    )
    # Metrics of finished episodes are NaN where no episode has finished, which jax_debug_nans would report.
    return dataclasses.replace(make_environment(config), episode_metrics=None)


def _blank_worlds(environment: Environment, atlas: RoadAtlas) -> WorldState:
    """Zeros in the shape of a chunk of worlds, to be reset before use."""
    keys = jax.random.split(jax.random.key(0), environment.num_worlds)
    shapes = jax.eval_shape(environment.reset, atlas, keys)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def _drive_block(
    environment: Environment,
    block: int,
    checks: Callable[[WorldState, Any, Array], dict[str, Array]],
    atlas: RoadAtlas,
    worlds: WorldState,
    blank: Bool[Array, ""],
    bounds: Float[Array, "maps 2 2"],
    key: Key[Array, ""],
) -> tuple[WorldState, Int[Array, " 2"], dict[str, Array]]:
    """`block` steps with random actions, each after the resets of finished worlds; `blank` resets all worlds first.

    Returns the worlds, [agent-steps, finished episodes], and the checks that failed in any of the steps.
    """

    def step_fn(carry: tuple[Any, ...], keys: tuple[Array, Array]) -> tuple[tuple[Any, ...], None]:
        (worlds, blank, counts, failed), (action_key, reset_key) = carry, keys
        worlds, metrics = reset_finished(environment, atlas, worlds, blank, reset_key)
        action = jax.random.randint(action_key, worlds.active.shape, 0, environment.num_actions)
        counts = counts + jnp.stack([worlds.active.sum(), metrics["episode/finished"]])
        worlds = environment.step(atlas, worlds, action).state
        failed_now = checks(worlds, environment.observe(atlas, worlds), bounds)
        failed = jax.tree.map(jnp.logical_or, failed, failed_now)
        return (worlds, jnp.zeros_like(blank), counts, failed), None

    names = jax.eval_shape(lambda: checks(worlds, environment.observe(atlas, worlds), bounds))
    none_failed = {name: jnp.zeros((), bool) for name in names}
    start = (worlds, blank, jnp.zeros(2, jnp.int32), none_failed)
    (worlds, _, counts, failed), _ = rollout(
        lambda carry, step_key: tuple(jax.random.split(step_key)),
        step_fn,
        start,
        jax.random.split(key, block),
    )
    return worlds, counts, failed


def _raise_failed(failed: dict[str, Array], chunk: int, block: int, settings: SoakSettings) -> None:
    names = [name for name, has_failed in failed.items() if bool(has_failed)]
    if names:
        first = chunk * settings.chunk
        raise FailedCheckError(
            f"worlds {first} to {first + settings.chunk - 1}, steps {block * settings.block} to "
            f"{(block + 1) * settings.block}: not {'; not '.join(names)}"
        )


def memory_mb() -> float:
    """Resident set size of this process, MB; NaN where /proc does not exist."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 where a check has failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.split("\n", 1)[0])
    for name, default in asdict(SoakSettings()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default {default}")
    parser.add_argument("--output", metavar="FILE.json", help="also write the report to this file")
    values = vars(parser.parse_args(argv))
    output = values.pop("output")
    try:
        result = soak(SoakSettings(**values), print)
    except (FailedCheckError, FloatingPointError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    text = json.dumps(result, indent=2)
    print(text)
    if output is not None:
        write_text(output, text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, "error"))
