"""The command `gigapixel teacher sweep`: how a policy's behaviour responds to one trait of its conditioning.

All agents of all worlds get the same value of one trait in [0, 1] (``--coefficient``); worlds and seeds are the same
for all values. The metrics, and the one that each trait is meant to change: docs/teacher.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.config.command_line import CommandParser
from gigapixel.run_folder.outputs import JSON_SUFFIXES, check_output_file
from simulator.atlas.load import load_atlas
from simulator.conventions import TRAIT_NAMES
from teacher.evaluation.towns import evaluation_simulator, start_worlds
from teacher.policy import Policy, describe_policy, load_policy, make_policy_fn
from teacher.reward import default_traits
from teacher.sweep.behaviour import Behaviour, record_behaviour
from teacher.sweep.figures import BEHAVIOURS, Row, metrics_row, metrics_rows_of_parts
from teacher.sweep.trend import MEANT, Trend, trends

VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)
PARTS = 16
"""The worlds are divided into this many parts, whose scatter gives the standard errors."""
OTHERS = ("careful", "middle")


def swept_traits(coefficient: str, value: float, others: str) -> Float[Array, " traits"]:
    """`default_traits` (``others="careful"``) or 0.5 for all (``"middle"``), with one trait set to ``value``."""
    traits = default_traits() if others == "careful" else jnp.full(len(TRAIT_NAMES), 0.5)
    return traits.at[TRAIT_NAMES.index(coefficient)].set(value)


def sweep(
    policy: Policy, coefficient: str, values: Sequence[float], maps: Sequence[str], num_worlds: int = 64,
    num_agents: int = 16, seconds: float = 60.0, seed: int = 0, others: str = "careful", greedy: bool = True,
) -> tuple[list[Row], dict[str, Trend]]:  # fmt: skip
    """One row of metrics per value, and the trend of each metric. One compiled program serves all values."""
    atlas = load_atlas(maps)
    config = dataclasses.replace(evaluation_simulator(policy, num_agents, seconds), detailed_metrics=True)
    reset_key, drive_key = jax.random.split(jax.random.key(seed))
    worlds = start_worlds(reset_key, atlas, config, num_worlds)
    policy_fn = make_policy_fn(policy, atlas, config, greedy)
    drive = jax.jit(lambda key, worlds, atlas: record_behaviour(key, worlds, policy_fn, atlas, config))
    rows, parts = [], []
    for value in values:
        traits = jnp.broadcast_to(swept_traits(coefficient, value, others), worlds.scenario.traits.shape)
        conditioned = worlds.replace(scenario=worlds.scenario.replace(traits=traits))
        final, behaviour = drive(drive_key, conditioned, atlas)
        behaviour = Behaviour(*(np.asarray(leaf) for leaf in behaviour))
        rows.append(metrics_row(behaviour, final))
        parts.append(metrics_rows_of_parts(behaviour, final, PARTS))
    return rows, trends(values, rows, parts)


def trend_table(
    coefficient: str, values: Sequence[float], rows: Sequence[Row], trend: dict[str, Trend]
) -> str:
    """One line per metric: its value at each trait value, its rank correlation and its change."""
    width = max(len(name) for name in BEHAVIOURS)
    head = f"{coefficient:<{width}}" + "".join(f"{value:>10g}" for value in values)
    lines = [f"{head}  rank corr.  change (standard error)"]
    for name in BEHAVIOURS:
        here = trend[name]
        change = f"{_shown(here.change, '+.4f')} ({_shown(here.standard_error, '.4f')})"
        cells = "".join(f"{_shown(row[name], '.4f'):>10}" for row in rows)
        mark = "follows" if here.follows else ""
        rank = _shown(here.rank_correlation, "+.2f")
        lines.append(f"{name:<{width}}{cells}  {rank:>10}  {change:<20}  {mark}".rstrip())
    return "\n".join(lines)


def verdict(coefficient: str, trend: dict[str, Trend]) -> dict[str, Any] | None:
    """Whether the metric that the trait is meant to change does so, as in the JSON output; None if MEANT names none."""
    if coefficient not in MEANT:
        return None
    behaviour, direction = MEANT[coefficient]
    found = trend[behaviour]
    agrees = found.follows and found.change is not None and found.change * direction > 0
    return {
        "behaviour": behaviour,
        "is": BEHAVIOURS[behaviour],
        "direction": "rises" if direction > 0 else "falls",
        "rank_correlation": found.rank_correlation,
        "moves_as_meant": agrees,
    }


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="gigapixel teacher sweep", description=__doc__)
    parser.add_argument("--policy", default="pretrained", help="policy file, or 'pretrained' (default)")
    parser.add_argument("--coefficient", required=True, help=f"one of {', '.join(TRAIT_NAMES)}")
    parser.add_argument(
        "--values", default=",".join(f"{v:g}" for v in VALUES), help="in [0, 1] (default: %(default)s)"
    )
    parser.add_argument(
        "--others",
        choices=OTHERS,
        default="careful",
        help="all other traits: careful (the default conditioning; default) or middle (0.5)",
    )
    parser.add_argument("--map", default="Town10HD", help="maps, separated by commas (default: Town10HD)")
    parser.add_argument("--worlds", type=int, default=64, help="parallel worlds (default: 64)")
    parser.add_argument("--agents", type=int, default=16, help="agents per world (default: 16)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of an episode (default: 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--sample", action="store_true", help="sample actions instead of taking the most probable ones"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="write metrics and trends to this JSON file"
    )
    parser.add_argument("--plot", type=Path, help="plot the metrics against the value into this file (PNG)")
    return parser


def values_of(text: str) -> list[float]:
    """The values of ``--values``. Raises ValueError unless they are at least two increasing numbers in [0, 1]."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    increasing = all(a < b for a, b in itertools.pairwise(values))
    if len(values) < 2 or not increasing or not (values[0] >= 0 and values[-1] <= 1):
        raise ValueError(
            f"--values {text!r} must be two or more increasing numbers in [0, 1], such as 0,0.5,1"
        )
    return values


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code. Raises ValueError for bad arguments."""
    arguments = _parser().parse_args(argv)
    if arguments.coefficient not in TRAIT_NAMES:
        known = ", ".join(TRAIT_NAMES)
        raise ValueError(f"--coefficient {arguments.coefficient!r} is unknown; known coefficients: {known}")
    for name in ("worlds", "agents"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} {getattr(arguments, name)} must be at least 1")
    values = values_of(arguments.values)
    if not 0 < arguments.seconds < math.inf:
        raise ValueError(f"--seconds {arguments.seconds} must be above 0")
    check_output_file("--output", arguments.output, JSON_SUFFIXES)
    check_output_file("--plot", arguments.plot, (".png",))
    maps = [name.strip() for name in arguments.map.split(",") if name.strip()]
    settings = {
        "coefficient": arguments.coefficient, "values": values, "maps": maps, "num_worlds": arguments.worlds,
        "num_agents": arguments.agents, "seconds": arguments.seconds, "seed": arguments.seed,
        "others": arguments.others, "greedy": not arguments.sample,
    }  # fmt: skip
    rows, trend = sweep(load_policy(arguments.policy), **settings)
    print(trend_table(arguments.coefficient, values, rows, trend))
    meant = verdict(arguments.coefficient, trend)
    if meant:
        print(_sentence(arguments.coefficient, meant))
    content = {
        "policy": describe_policy(arguments.policy),
        **settings,
        "rows": [{"value": value, **row} for value, row in zip(values, rows, strict=True)],
        "trends": {name: dataclasses.asdict(one) for name, one in trend.items()},
        "meant": meant,
    }
    write_json(arguments.output, content)
    if arguments.plot:
        from teacher.sweep.plot import save_plot

        save_plot(arguments.plot, arguments.coefficient, values, rows, trend)
    return 0


def _sentence(coefficient: str, meant: dict[str, Any]) -> str:
    found = "as meant" if meant["moves_as_meant"] else "not as meant"
    rank = _shown(meant["rank_correlation"], "+.2f")
    return (
        f"{coefficient} is meant to move {meant['behaviour']} ({meant['is']}), which {meant['direction']} with it: "
        f"rank correlation {rank}, {found}"
    )
