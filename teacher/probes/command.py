"""The command `gigapixel teacher probe`: how often a policy passes each of the probe scenarios.

All agents are driven by the policy with default conditioning. Scenarios and criteria: docs/teacher.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.config.command_line import CommandParser
from gigapixel.run_folder.outputs import JSON_SUFFIXES, check_output_file, check_output_folder
from teacher.evaluation.towns import evaluation_simulator
from teacher.policy import Policy, describe_policy, load_policy, make_policy_fn
from teacher.probes.catalogue import (
    AGENTS,
    PROBES,
    compile_drive,
    draw_trials,
    probe_atlas,
    probe_simulator,
    run_trials,
)
from teacher.probes.probe import Probe
from teacher.probes.report import pass_rate_table, result_of


def probe_policy(
    policy: Policy,
    probes: list[Probe],
    trials: int,
    seed: int,
    greedy: bool = True,
    pictures: Path | None = None,
) -> dict[str, Any]:
    """Results by probe, as in the JSON output. One compiled program serves all probes. Images are written into the
    folder ``pictures``, if given."""
    config = probe_simulator(evaluation_simulator(policy, AGENTS, 1.0), probes)
    atlas = probe_atlas()
    drive = compile_drive(make_policy_fn(policy, atlas, config, greedy), config)
    results = {}
    for probe in probes:
        run, worlds = run_trials(probe, draw_trials(probe, trials, seed), drive, seed, config)
        events = probe.judge(run)
        results[probe.name] = result_of(probe, run, events)
        if pictures is not None:
            from teacher.probes.pictures import save_pictures

            save_pictures(pictures, probe, run, worlds, events, atlas, config)
    return results


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="gigapixel teacher probe", description=__doc__)
    parser.add_argument("--policy", default="pretrained", help="policy file, or 'pretrained' (default)")
    parser.add_argument(
        "--probe", default=",".join(PROBES), help="probes, separated by commas (default: all): %(default)s"
    )
    parser.add_argument("--trials", type=int, default=100, help="random trials of each probe (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--sample", action="store_true", help="sample actions instead of taking the most probable ones"
    )
    parser.add_argument("--output", type=Path, required=True, help="write the pass rates to this JSON file")
    parser.add_argument(
        "--pictures", type=Path, help="write images of the scenarios and of failures into this folder (PNG)"
    )
    return parser


def chosen_probes(names: str) -> list[Probe]:
    """The probes in a comma-separated list of names. Raises ValueError for unknown names and for an empty list."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in PROBES:
            raise ValueError(f"--probe {name!r} is unknown; known probes: {', '.join(PROBES)}")
    if not wanted:
        raise ValueError(f"--probe names no probe; known probes: {', '.join(PROBES)}")
    return [PROBES[name] for name in dict.fromkeys(wanted)]


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code. Raises ValueError for bad arguments."""
    arguments = _parser().parse_args(argv)
    if arguments.trials < 1:
        raise ValueError(f"--trials {arguments.trials} must be at least 1")
    if arguments.seed < 0:
        raise ValueError(f"--seed {arguments.seed} must be 0 or above")
    probes = chosen_probes(arguments.probe)
    check_output_file("--output", arguments.output, JSON_SUFFIXES)
    check_output_folder("--pictures", arguments.pictures)
    policy = load_policy(arguments.policy)
    greedy = not arguments.sample
    results = probe_policy(policy, probes, arguments.trials, arguments.seed, greedy, arguments.pictures)
    print(pass_rate_table(results))
    settings = {
        "policy": describe_policy(arguments.policy),
        "trials": arguments.trials,
        "seed": arguments.seed,
        "greedy": greedy,
    }
    write_json(arguments.output, settings | {"probes": results})
    return 0
