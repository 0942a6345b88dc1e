"""How well a teacher drives: closed-loop episodes in self-play, summarised by `simulator.infractions`.

An evaluation episode gives every agent a route with three goals 40 to 80 m apart and the careful driver's traits.
Nothing is reset within it; agents that crash stay where they are and those behind them must cope.
"""

import argparse
import dataclasses
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from simulator.atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.infractions import Metrics, summarise
from simulator.maps import load_atlas
from simulator.rollout import reset_worlds, roll
from simulator.spawn import check_capacity
from simulator.world import WorldState
from teacher.observation import observe
from teacher.policy import Policy, load_policy
from teacher.reward import careful_traits
from teacher.run_folder import write_json

EVALUATION_GOALS = 3
EVALUATION_GOAL_SPACING_M = (40.0, 80.0)


def evaluation_simulator(policy: Policy, num_agents: int, seconds: float) -> SimulatorConfig:
    """The world the policy was trained in, with evaluation's routes and nobody blind or braking for no reason."""
    return dataclasses.replace(
        policy.simulator,
        num_agents=num_agents,
        episode_s=seconds,
        num_goals=EVALUATION_GOALS,
        goal_spacing_m=EVALUATION_GOAL_SPACING_M,
        map_variants=1,
        all_way_stop_share=0.0,
        blind_share=0.0,
        braker_share=0.0,
        parked_share=0.0,
        crashed_share=0.0,
    )


def start_worlds(key: Array, atlas: RoadAtlas, config: SimulatorConfig, num_worlds: int) -> WorldState:
    """Fresh worlds whose agents all have the careful driver's traits. The key is consumed."""
    check_capacity(atlas, config.num_agents)
    worlds = jax.jit(partial(reset_worlds, config=config, num_worlds=num_worlds))(key, atlas)
    traits = jnp.broadcast_to(careful_traits(), worlds.scenario.traits.shape)
    return worlds.replace(scenario=worlds.scenario.replace(traits=traits))


def choose_with(policy: Policy, atlas: RoadAtlas, config: SimulatorConfig, greedy: bool):
    """The policy as a function of batched worlds and a key, for `simulator.rollout.roll`."""

    def choose(worlds: WorldState, key: Array) -> Array:
        seen = jax.vmap(observe, (0, None, None, None))(worlds, atlas, config, policy.observation)
        return policy.act(seen, key, greedy)

    return choose


def evaluate(
    policy: Policy,
    maps: Sequence[str],
    num_worlds: int = 16,
    num_agents: int = 16,
    seconds: float = 60.0,
    seed: int = 0,
    greedy: bool = True,
) -> tuple[Metrics, WorldState]:
    """Metrics of ``num_worlds`` episodes spread over ``maps``, and their last states.

    ``greedy`` takes the likeliest action, as labels do, instead of drawing one. Raises
    ValueError for more agents than a town holds.
    """
    atlas = load_atlas(maps)
    config = dataclasses.replace(evaluation_simulator(policy, num_agents, seconds), detailed_metrics=True)
    reset_key, drive_key = jax.random.split(jax.random.key(seed))
    worlds = start_worlds(reset_key, atlas, config, num_worlds)

    @jax.jit
    def drive(key: Array, worlds: WorldState, atlas: RoadAtlas) -> tuple[WorldState, Array]:
        return roll(
            key, worlds, choose_with(policy, atlas, config, greedy), atlas, config, config.episode_steps
        )

    began = time.perf_counter()
    final, agent_steps = jax.block_until_ready(drive(drive_key, worlds, atlas))
    return summarise(final, int(agent_steps), time.perf_counter() - began), final


def rates_per_town(final: WorldState, maps: Sequence[str]) -> dict[str, dict[str, float]]:
    """Driving score and goal rate per town, for the report."""
    rows = {}
    for index, name in enumerate(maps):
        chosen = np.asarray(final.map_id) == index
        if chosen.any():
            part = jax.tree.map(lambda leaf, chosen=chosen: np.asarray(leaf)[chosen], final)
            metrics = summarise(part, 0, 0.0)
            rows[name] = {"driving_score": metrics.driving_score, "goal_rate": metrics.goal_rate}
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gigapixel teacher evaluate", description=__doc__)
    parser.add_argument("--policy", default="pretrained", help="policy file, or 'pretrained' (default)")
    parser.add_argument("--map", default="Town10HD", help="towns, separated by commas (default: Town10HD)")
    parser.add_argument("--worlds", type=int, default=16, help="parallel worlds (default: 16)")
    parser.add_argument("--agents", type=int, default=16, help="agents per world (default: 16)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of an episode (default: 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", action="store_true", help="draw actions instead of taking the likeliest")
    parser.add_argument("--output", type=Path, help="write the metrics here as JSON")
    parser.add_argument(
        "--picture", type=Path, help="write a top-down filmstrip of the first world here (PNG)"
    )
    return parser


def main(argv: list[str]) -> int:
    """The command ``gigapixel teacher evaluate``. Raises ValueError on impossible arguments."""
    arguments = _parser().parse_args(argv)
    for name in ("worlds", "agents"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} {getattr(arguments, name)} must be at least 1")
    maps = [name.strip() for name in arguments.map.split(",") if name.strip()]
    policy = load_policy(arguments.policy)
    settings = (arguments.worlds, arguments.agents, arguments.seconds, arguments.seed, not arguments.sample)
    metrics, final = evaluate(policy, maps, *settings)
    values = metrics.to_json()
    for name, value in values.items():
        print(f"{name:>23}  {value if value is None or isinstance(value, int) else format(value, '.4f')}")
    for town, row in rates_per_town(final, maps).items():
        print(f"{town:>23}  driving_score {row['driving_score']:.3f}  goal_rate {row['goal_rate']:.3f}")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(arguments.output, values)
    if arguments.picture:
        from teacher.picture import filmstrip

        filmstrip(policy, maps[0], arguments.agents, arguments.seconds, arguments.seed).save(
            arguments.picture
        )
    return 0
