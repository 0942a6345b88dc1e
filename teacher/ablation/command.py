"""The command `gigapixel teacher ablate`: trainings with one setting changed, for equal time, over several seeds.

Trains every arm of a study with every seed, evaluates the finished policies, and writes `ablation.json`, `ablation.png`
and the runs into a folder. After an interruption the same command continues with the next run.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.config.command_line import CommandParser
from gigapixel.run_folder.config.study_file import Arm, claim_study_folder, parse_seeds
from gigapixel.run_folder.exit_codes import INTERRUPTED
from gigapixel.run_folder.outputs import check_output_folder
from teacher.ablation.plot import save_ablation_plot
from teacher.ablation.run import METRICS, Interrupted, OnStart, Outcome, run_study
from teacher.ablation.study import Study, load_study
from teacher.config import to_dict
from teacher.run.fit import Report, Row, jax_metadata


def study_summary(study: Study, outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """By arm and metric: mean and standard deviation over the seeds (None for one seed), and the seeds' values.
    Metrics that no seed has are left out."""
    rows: dict[str, dict[str, Any]] = {}
    for arm in study.arms:
        own = [one for one in outcomes if one.arm == arm.name]
        rows[arm.name] = {"agent_steps": statistics.mean(one.agent_steps for one in own)}
        for name in METRICS:
            values = [value for one in own if (value := one.figures.get(name)) is not None]
            if values:
                spread = statistics.stdev(values) if len(values) > 1 else None
                rows[arm.name][name] = {"mean": statistics.mean(values), "std": spread, "seeds": values}
    return rows


def study_table(rows: dict[str, dict[str, Any]]) -> str:
    """One line per arm: agent-steps, then mean and standard deviation of every metric."""
    names = [name for name in METRICS if any(name in row for row in rows.values())]
    width = max(len(name) for name in rows)
    lines = [f"{'':<{width}}  {'agent steps':>12}" + "".join(f"  {name:>16}" for name in names)]
    for arm, row in rows.items():
        cells = "".join(f"  {_shown(row.get(name)):>16}" for name in names)
        lines.append(f"{arm:<{width}}  {row['agent_steps'] / 1e6:>11.2f}M{cells}")
    return "\n".join(lines)


def _shown(metric: dict[str, Any] | None) -> str:
    if metric is None:
        return "-"
    spread = "" if metric["std"] is None else f" ± {metric['std']:.3f}"
    return f"{metric['mean']:.3f}{spread}"


def progress(study: Study) -> OnStart:
    """A progress bar for each run, in minutes of training."""

    def begin(arm: Arm, seed: int) -> Report:
        form = "{l_bar}{bar}| {n:.1f}/{total:g} min{postfix}"
        bar = tqdm(total=study.minutes, desc=f"{arm.name}, seed {seed}", bar_format=form)
        compiled: list[float] = []

        def report(row: Row) -> None:
            compiled[:] = compiled or [row["wall_s"]]  # the first update includes compilation
            score = row.get("teacher/episode/driving_score", float("nan"))
            bar.set_postfix_str(f"{row['agent_steps'] / 1e6:.2f}M steps, score {score:.2f}", refresh=False)
            bar.update(min((row["wall_s"] - compiled[0]) / 60, study.minutes) - bar.n)
            if bar.n >= study.minutes:
                bar.close()

        return report

    return begin


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="gigapixel teacher ablate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add(
        "--config",
        type=Path,
        required=True,
        help="study file, for example configs/teacher/ablation/filter.yaml",
    )
    add("--output", type=Path, required=True, help="folder for the runs, metrics and plot")
    add("--minutes", type=float, help="training time of each run, instead of the study's")
    add("--seeds", help="seeds separated by commas, instead of the study's")
    add(
        "--packs", default="", help="packs of recorded scenes, separated by commas, for studies that use them"
    )
    return parser


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code. Raises ValueError for bad arguments."""
    given = _parser().parse_args(argv)
    study = load_study(given.config, tuple(part.strip() for part in given.packs.split(",") if part.strip()))
    if given.minutes is not None:
        if not 0 < given.minutes < math.inf:
            raise ValueError(f"--minutes {given.minutes} must be above 0")
        study = dataclasses.replace(study, minutes=given.minutes)
    if given.seeds is not None:
        study = dataclasses.replace(study, seeds=parse_seeds(given.seeds))
    check_output_folder("--output", given.output)
    described = {
        "question": study.question,
        "minutes": study.minutes,
        "arms": {arm.name: arm.values for arm in study.arms},
        "evaluate": to_dict(study.evaluation),
    }
    claim_study_folder(given.output, described, "minutes")
    _share_compiled(given.output)
    try:
        outcomes = run_study(study, given.output, progress(study))
    except Interrupted:
        print("interrupted; the same command continues with the next run", file=sys.stderr)
        return INTERRUPTED
    rows = study_summary(study, outcomes)
    content = {"question": study.question, "minutes": study.minutes, "seeds": list(study.seeds), "arms": rows}
    about = jax_metadata(study.seeds[0])
    write_json(given.output / "ablation.json", content | {key: about[key] for key in ("commit", "device")})
    save_ablation_plot(given.output / "ablation.png", study, outcomes)
    print(study_table(rows))
    return 0


def _share_compiled(output: Path) -> None:
    """Sets a compilation cache in the folder, since all seeds of an arm run the same program."""
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(output / "compiled"))
