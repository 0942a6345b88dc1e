"""Trains and evaluates every run of a study, one after the other.

A finished run has its result beside its policy and is not repeated. An interrupted run starts from the beginning,
because training time is measured in one piece.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.config.study_file import Arm
from teacher.ablation.study import Study
from teacher.evaluation.command import Evaluator
from teacher.policy import load_policy
from teacher.run.curves import read_metrics
from teacher.run.fit import Finish, Report, fit

METRICS = (
    "driving_score",
    "goal_rate",
    "collision_rate",
    "offroad_rate",
    "red_light_rate",
    "failure_rate",
    "progress_ratio",
)
"""The metrics that are kept of an evaluation; progress_ratio exists in recorded scenes only."""
RESULT = "ablation.json"
ABLATION_CURVE_POINTS = 40

OnStart = Callable[[Arm, int], Report]
"""Called with arm and seed before a run is trained; returns the callback for its metrics rows."""


@dataclass(frozen=True)
class Outcome:
    """One finished run.

    Attributes:
        arm: the arm's name.
        seed: the run's seed.
        agent_steps: agent-steps of training within the time.
        figures: metrics of the evaluation, by name.
        curve: [(minutes, driving score of the training episodes that ended)], averaged over equal time intervals.
    """

    arm: str
    seed: int
    agent_steps: int
    figures: dict[str, float | None]
    curve: list[tuple[float, float]]


class Interrupted(Exception):
    """Ctrl-C stopped the training; finished runs are complete."""


def run_study(study: Study, output: Path, on_start: OnStart) -> list[Outcome]:
    """Outcomes of all runs. The runs of one seed come together, so that all arms can be compared early.

    ``on_start`` is called before each run that is trained. Raises `Interrupted`.
    """
    return [_one(study, arm, seed, output, on_start) for seed in study.seeds for arm in study.arms]


def _one(study: Study, arm: Arm, seed: int, output: Path, on_start: OnStart) -> Outcome:
    config = study.config(arm, seed, output)
    result = config.folder / RESULT
    if result.is_file():
        return _read(result)
    if config.folder.exists():
        shutil.rmtree(config.folder)
    finish = fit(config, stop_after_s=60 * study.minutes, report=on_start(arm, seed))
    if finish.interrupted:
        raise Interrupted
    return _evaluate(study, arm, seed, finish)


def _evaluate(study: Study, arm: Arm, seed: int, finish: Finish) -> Outcome:
    policy = load_policy(str(finish.folder / "policy.h5"))
    traffic = study.evaluation.traffic[0]
    values = Evaluator(policy, study.evaluation, record_states=False).run(traffic)
    figures = {name: _number(values.get(name)) for name in METRICS}
    outcome = Outcome(arm.name, seed, finish.agent_steps, figures, curve_of(finish.folder / "metrics.csv"))
    write_json(finish.folder / RESULT, vars(outcome))
    return outcome


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _read(path: Path) -> Outcome:
    try:
        values = json.loads(path.read_text())
        return Outcome(**values | {"curve": [(float(x), float(y)) for x, y in values["curve"]]})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not the result of a run ({error}); delete it to make the run again"
        ) from error


def curve_of(path: Path, points: int = ABLATION_CURVE_POINTS) -> list[tuple[float, float]]:
    """[(minutes since the first update, driving score)] from a run's metrics.csv, averaged over ``points`` equal
    intervals of time; intervals in which no episode ended are left out."""
    metrics = read_metrics(path)
    score, spent_s = metrics["teacher/episode/driving_score"], metrics["wall_s"] - metrics["wall_s"][0]
    interval = np.minimum(points * spent_s // max(spent_s[-1], 1e-9), points - 1)
    known = np.isfinite(score)
    boxes = [known & (interval == number) for number in np.unique(interval[known])]
    return [(float(spent_s[box].mean() / 60), float(score[box].mean())) for box in boxes]
