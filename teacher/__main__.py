"""The command `gigapixel teacher`, also `python -m teacher`: `fit` trains a policy, the others evaluate policies."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from signal import Signals
from typing import TYPE_CHECKING

from gigapixel.run_folder.exit_codes import REJECTED
from gigapixel.run_folder.interrupts import SIGNALS, run_process
from gigapixel.run_folder.outputs import check_output_folder

if TYPE_CHECKING:
    from teacher.config import TeacherConfig
else:  # importing it loads JAX, and --help should be fast
    TeacherConfig = object

USAGE = """usage: gigapixel teacher COMMAND ...

commands:
  fit       train a policy:       gigapixel teacher fit --config configs/teacher/cpu.yaml [--ppo.epochs 3] [--resume]
  evaluate  closed-loop metrics:  gigapixel teacher evaluate --policy pretrained --map Town10HD --output t.json
  probe     scripted scenarios:   gigapixel teacher probe --policy pretrained --output p.json [--pictures DIR]
  sweep     vary one trait:       gigapixel teacher sweep --policy pretrained --coefficient collision --output s.json
  ablate    compare trainings:    gigapixel teacher ablate --config configs/teacher/ablation/filter.yaml --output DIR

Each takes --help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command and returns its exit code. Raises ValueError or OSError for bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else REJECTED
    command, rest = arguments[0], arguments[1:]
    if command == "fit":
        return fit_command(rest)
    if command == "evaluate":
        from teacher.evaluation.command import main as evaluate

        return evaluate(rest)
    if command == "probe":
        from teacher.probes.command import main as probe

        return probe(rest)
    if command == "sweep":
        from teacher.sweep.command import main as sweep

        return sweep(rest)
    if command == "ablate":
        from teacher.ablation.command import main as ablate

        return ablate(rest)
    raise ValueError(
        f"unknown teacher command {command!r}; known commands: fit, evaluate, probe, sweep, ablate"
    )


def fit_command(arguments: list[str]) -> int:
    """Trains with a progress bar and returns the exit code; a run that Ctrl-C stops can be resumed."""
    from tqdm import tqdm

    from teacher.ppo.multihost import initialize, is_first
    from teacher.run.curves import save_curves
    from teacher.run.fit import Row, fit

    config, options = parse_fit(arguments)
    check_output_folder("--output", config.folder)
    initialize(options.coordinator, options.num_processes, options.process_id)
    # Only steps of active agents count. The first update includes compilation.
    quiet = not is_first()
    total = config.total_agent_steps
    with tqdm(total=total, unit="agent-step", unit_scale=True, smoothing=0.05, disable=quiet) as bar:

        def report(row: Row) -> None:
            if (
                bar.n == 0 and row["update"] > 1
            ):  # resumed: earlier agent-steps do not count for the speed shown
                bar.initial = bar.n = bar.last_print_n = int(row["agent_steps"])
            bar.set_postfix_str(postfix(row), refresh=False)
            bar.update(int(row["agent_steps"]) - bar.n)

        finish = fit(config, options.resume, options.stop_at_update, report)
    print(f"{finish.folder}: {finish.agent_steps} agent steps in {finish.updates} updates")
    if is_first() and finish.updates:
        save_curves(finish.folder / "metrics.csv", finish.folder / "curves.png")
    if not finish.interrupted:
        return 0
    code, word = SIGNALS[Signals(finish.signal_number)]
    print(
        f"gigapixel teacher: {word}; the same command with --resume continues {finish.folder}",
        file=sys.stderr,
    )
    return code


def postfix(row: dict[str, float]) -> str:
    """Reward, goal rate and entropy for the progress bar."""
    shown = {"reward": "reward/total", "goals": "episode/goal_rate", "entropy": "loss/entropy"}
    return ", ".join(f"{name} {row.get(f'teacher/{key}', float('nan')):.3f}" for name, key in shown.items())


@dataclass(frozen=True)
class FitOptions:
    """Arguments of `fit` that are not part of the run's configuration."""

    resume: bool
    stop_at_update: int | None
    coordinator: str | None
    num_processes: int | None
    process_id: int | None


def parse_fit(arguments: list[str]) -> tuple[TeacherConfig, FitOptions]:
    """Configuration and options of `fit`. Raises ValueError for bad arguments."""
    from jsonargparse import ArgumentParser

    from gigapixel.run_folder.config.command_line import parse_config_arguments
    from teacher import config

    parser = ArgumentParser(
        prog="gigapixel teacher fit", description="Train a teacher by self-play.", exit_on_error=False
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the fields below")
    parser.add_argument(
        "--resume", action="store_true", help="continue from the newest checkpoint of this run"
    )
    parser.add_argument(
        "--stop_at_update",
        type=int,
        default=None,
        help="write a checkpoint and stop after this many updates",
    )
    parser.add_argument(
        "--coordinator",
        type=str,
        default=None,
        help="HOST:PORT of process 0, or auto: train with several processes",
    )
    for name, meaning in (
        ("num_processes", "number of processes"),
        ("process_id", "index of this process, from 0"),
    ):
        parser.add_argument(f"--{name}", type=int, default=None, help=f"with --coordinator: {meaning}")
    parser.add_class_arguments(config.TeacherConfig)
    values = parse_config_arguments(parser, arguments).as_dict()
    source = ", ".join(str(path) for path in values.pop("config") or []) or "command line"
    options = FitOptions(**{field.name: values.pop(field.name) for field in fields(FitOptions)})
    if options.stop_at_update is not None and options.stop_at_update < 0:
        raise ValueError(f"--stop_at_update {options.stop_at_update} must be 0 or above")
    return config.from_dict(config.TeacherConfig, values, source), options


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    sys.exit(run_process(main, "gigapixel teacher"))
