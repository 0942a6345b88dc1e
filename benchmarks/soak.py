"""`python -m benchmarks.soak [--NAME VALUE ...]`: drive very many worlds at random and look for numbers gone bad.

Worlds are taken chunk by chunk, so memory stays flat whatever their number. Every step of every world is checked, not
only the last: all floats of state and observation are finite, agents are inside their town and inside the limits of
the dynamics. JAX's own `jax_debug_nans` is on as well. A fault ends the run with a sentence and exit code 1.
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

from benchmarks.script import run
from gigapixel.bench.device_info import jax_device
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.dynamics.bicycle import MAX_ACCELERATION, MAX_SPEED, MAX_STEERING, MIN_ACCELERATION, MIN_SPEED
from simulator.reset.spawn import check_capacity
from simulator.roads.sources.map_cache import load_atlas, load_maps
from simulator.state import WorldState
from teacher.config import TeacherConfig
from teacher.observation.observe import OBSERVATIONS
from teacher.ppo.environment import Environment, make_environment
from teacher.ppo.losses import PPOConfig
from teacher.ppo.rollout import reset_finished

MARGIN_M = 25.0
"""Agents stop where they leave the road, so nobody gets farther from the town's geometry than one step and a box."""
OBSERVATION_LIMIT = 1000.0
"""Observations are scaled to about [-1, 1]; far away goals are a few tens."""
SLACK = 1e-4  # of float32 at a limit
MEGABYTE = 1e6


class SoakFault(RuntimeError):
    """A number that no world should ever hold."""


@dataclass(frozen=True)
class SoakSettings:
    """How much is driven.

    Attributes:
        maps: towns, separated by commas; each world draws one at every reset.
        worlds, steps: worlds in all, and steps of each.
        agents: agents per world.
        chunk: worlds driven at a time.
        block: steps between two looks at the faults found.
        observation: `compact`, `lean` or `full`.
        seed: of the worlds and the actions.
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


def faults(state: WorldState, observation: Any, bounds: Float[Array, "maps 2 2"]) -> dict[str, Any]:
    """What is wrong with a batch of worlds: name of the claim -> [] bool, True where it is broken.

    ``bounds`` holds the least and greatest (x, y) of each town in metres. State fields are [worlds, agents, ...].
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
    broken = {claim: ~jnp.all(holds) for claim, holds in within.items()}
    for name, record in (("state", state), ("observation", observation)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(record):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                broken[f"{name}{jax.tree_util.keystr(path)} finite"] = ~jnp.all(jnp.isfinite(leaf))
                if name == "observation":
                    far = jnp.any(jnp.abs(leaf) > OBSERVATION_LIMIT)
                    broken[f"{name}{jax.tree_util.keystr(path)} below {OBSERVATION_LIMIT:g}"] = far
    return broken


def _between(value: Array, low: Any, high: Any) -> Array:
    return (value >= low - SLACK) & (value <= high + SLACK)


def soak(settings: SoakSettings, say: Callable[[str], None]) -> dict[str, Any]:
    """Drive all worlds and return the flat report; SoakFault names the first claim that was broken.

    `say` gets a line of progress after every chunk.
    """
    environment, towns = _environment(settings), settings.maps.split(",")
    atlas = load_atlas(towns)
    check_capacity(atlas, settings.agents)
    bounds = jnp.asarray([road_map.bounds() for road_map in load_maps(towns)], jnp.float32)
    drive = jax.jit(partial(_drive, environment, settings.block))
    key, began, memory = jax.random.key(settings.seed), time.perf_counter(), [memory_mb()]
    agent_steps = episodes = 0
    with jax.debug_nans(True):
        for chunk in range(settings.worlds // settings.chunk):
            worlds = _blank_worlds(environment, atlas)
            for block in range(settings.steps // settings.block):
                key, drive_key = jax.random.split(key)
                worlds, counts, broken = drive(atlas, worlds, jnp.asarray(block == 0), bounds, drive_key)
                _refuse_faults(broken, chunk, block, settings)
                agent_steps, episodes = agent_steps + int(counts[0]), episodes + int(counts[1])
            memory.append(memory_mb())
            done, seconds = (chunk + 1) * settings.chunk, time.perf_counter() - began
            say(f"{done} worlds, {agent_steps} agent-steps, {seconds:.0f} s, {memory[-1]:.0f} MB")
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
        ppo=PPOConfig(minibatch_size=1),  # nothing is learnt here: any batch will do
    )
    # The figures of finished episodes are NaN on purpose where none finished.
    return dataclasses.replace(make_environment(config), episode_metrics=None)


def _blank_worlds(environment: Environment, atlas: RoadAtlas) -> WorldState:
    """Zeros in the shape of a chunk of worlds, to be reset before anything is asked of them."""
    keys = jax.random.split(jax.random.key(0), environment.num_worlds)
    shapes = jax.eval_shape(environment.reset, atlas, keys)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def _drive(
    environment: Environment,
    block: int,
    atlas: RoadAtlas,
    worlds: WorldState,
    blank: Bool[Array, ""],
    bounds: Float[Array, "maps 2 2"],
    key: Key[Array, ""],
) -> tuple[WorldState, Int[Array, " 2"], dict[str, Array]]:
    """`block` steps with random actions, each after the resets that are due; `blank` resets all worlds first.

    Also returns the agent-steps taken, the episodes ended, and the faults of all steps.
    """

    def one(carry: tuple[Any, ...], step_key: Array) -> tuple[tuple[Any, ...], None]:
        worlds, blank, counts, broken = carry
        action_key, reset_key = jax.random.split(step_key)
        worlds, metrics = reset_finished(environment, atlas, worlds, blank, reset_key)
        action = jax.random.randint(action_key, worlds.active.shape, 0, environment.num_actions)
        counts = counts + jnp.stack([worlds.active.sum(), metrics["episode/finished"]])
        worlds = environment.step(atlas, worlds, action).state
        found = faults(worlds, environment.observe(atlas, worlds), bounds)
        broken = jax.tree.map(jnp.logical_or, broken, found)
        return (worlds, jnp.zeros_like(blank), counts, broken), None

    claims = jax.eval_shape(lambda: faults(worlds, environment.observe(atlas, worlds), bounds))
    clean = {claim: jnp.zeros((), bool) for claim in claims}
    start = (worlds, blank, jnp.zeros(2, jnp.int32), clean)
    (worlds, _, counts, broken), _ = jax.lax.scan(one, start, jax.random.split(key, block))
    return worlds, counts, broken


def _refuse_faults(broken: dict[str, Array], chunk: int, block: int, settings: SoakSettings) -> None:
    named = [claim for claim, is_broken in broken.items() if bool(is_broken)]
    if named:
        first = chunk * settings.chunk
        raise SoakFault(
            f"worlds {first} to {first + settings.chunk - 1}, steps {block * settings.block} to "
            f"{(block + 1) * settings.block}: not {'; not '.join(named)}"
        )


def memory_mb() -> float:
    """Memory that this process holds now (resident set), MB; NaN where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 without a fault, 1 with one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.split("\n", 1)[0])
    for name, default in asdict(SoakSettings()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default {default}")
    parser.add_argument("--output", metavar="FILE.json", help="also write the report here")
    values = vars(parser.parse_args(argv))
    output = values.pop("output")
    try:
        result = soak(SoakSettings(**values), print)
    except (SoakFault, FloatingPointError) as fault:
        print(f"soak: {fault}", file=sys.stderr)
        return 1
    text = json.dumps(result, indent=2)
    print(text)
    if output is not None:
        Path(output).write_text(text + "\n")
    return 0


if __name__ == "__main__":
    run(main)
