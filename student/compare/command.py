"""The command `gigapixel student compare`: trainings with different methods or settings, over equal experience.

Trains every arm of a study with every seed and evaluates it on the way, in towns that it is never trained in. Writes
the runs, `comparison.json` (every point), `comparison.png` and `comparison.md` (tables and differences) into a folder.
After an interruption the same command continues; runs that are finished are kept. Several processes may share a folder,
each with other arms (--only) or seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from gigapixel.run_folder.atomic import write_json, write_text
from gigapixel.run_folder.config.command_line import CommandParser
from gigapixel.run_folder.config.study_file import claim_study_folder, parse_seeds
from gigapixel.run_folder.figure import write_figure
from gigapixel.run_folder.interrupts import how_to_go_on
from gigapixel.run_folder.metadata import source_commit
from gigapixel.run_folder.outputs import check_output_folder
from student.compare.budget import Progress
from student.compare.plot import draw_comparison
from student.compare.report import content, markdown
from student.compare.run import OnStart, RunCli, devices_of, outcomes, run_study
from student.compare.statistics import compare
from student.compare.study import ComparedArm, Study, load_study


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="gigapixel student compare", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add(
        "--config",
        type=Path,
        required=True,
        help="study file, for example configs/student/compare/methods.yaml",
    )
    add("--output", type=Path, required=True, help="folder for the runs, points, plot and tables")
    add(
        "--only",
        action="append",
        default=[],
        metavar="ARM",
        help="train this arm only; may be given several times",
    )
    add("--seeds", help="seeds separated by commas, instead of the study's")
    add("--agent_steps", type=int, help="experience of each run, instead of the study's")
    return parser


def main(argv: Sequence[str], run_cli: RunCli) -> int:
    """Runs the command and returns its exit code. Raises ValueError or OSError for bad input."""
    given = _parser().parse_args(list(argv))
    study = load_study(given.config)
    if given.agent_steps is not None:
        study = study.with_agent_steps(given.agent_steps)
    arms = study.chosen(given.only)
    seeds = study.seeds if given.seeds is None else parse_seeds(given.seeds)
    check_output_folder("--output", given.output)
    claim_study_folder(given.output, study.described(), "agent-steps")
    with how_to_go_on(lambda: "the same command continues"):
        run_study(study, arms, seeds, given.output, run_cli, _progress_bar(study))
    print(write_results(study, given.output))
    return 0


def write_results(study: Study, output: Path) -> str:
    """Write comparison.json, .png and .md of all finished runs; returns the text of the last."""
    found = outcomes(study, output)
    comparisons = [one for axis in ("agent_steps", "labels") if (one := compare(found, axis)) is not None]
    about = {"commit": source_commit(), "devices": devices_of(study, found, output)}
    write_json(output / "comparison.json", content(study, found, comparisons, about))
    write_figure(output / "comparison.png", draw_comparison(study, found), dpi=110)
    text = markdown(study, found, comparisons)
    write_text(output / "comparison.md", text)
    return text


def _progress_bar(study: Study) -> OnStart:
    """A progress bar for each run, in agent-steps."""

    def begin(arm: ComparedArm, seed: int) -> Progress:
        bar = tqdm(
            total=study.agent_steps, unit="agent-step", unit_scale=True, desc=f"{arm.name}, seed {seed}"
        )

        def progress(steps: int) -> None:
            bar.update(min(steps, study.agent_steps) - bar.n)
            if steps >= study.agent_steps:
                bar.close()

        return progress

    return begin
