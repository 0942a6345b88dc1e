"""Train and judge every run of a study, one after the other.

A run that is finished has its figures beside its policy and is not made again; one that was cut short starts anew,
because a run's time would otherwise be measured in two parts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teacher.ablation.study import Arm, Study
from teacher.evaluation.command import Evaluation
from teacher.policy import load_policy
from teacher.run.curves import read_metrics
from teacher.run.fit import Finish, Report, fit
from teacher.run.run_folder import write_json

FIGURES = (
    "driving_score",
    "goal_rate",
    "collision_rate",
    "offroad_rate",
    "red_light_rate",
    "failure_rate",
    "progress_ratio",
)
"""What is kept of an evaluation; the last is known in recorded scenes only."""
RESULT = "ablation.json"
CURVE_POINTS = 40

Begin = Callable[[Arm, int], Report]
"""Told of a run that begins; gives what gets its rows."""


@dataclass(frozen=True)
class Outcome:
    """One finished run.

    Attributes:
        arm: the arm's name.
        seed: the run's seed.
        agent_steps: experience that fitted into the time.
        figures: of the evaluation, by name.
        curve: [(minutes, driving score of the episodes that ended in training)], averaged over equal stretches.
    """

    arm: str
    seed: int
    agent_steps: int
    figures: dict[str, float | None]
    curve: list[tuple[float, float]]


class Interrupted(Exception):
    """Somebody asked to stop; what is finished stays."""


def conduct(study: Study, output: Path, begin: Begin) -> list[Outcome]:
    """Outcomes of all runs, arm by arm within a seed, so that an early look at the folder compares all arms.

    `begin` is told of every run that is made and gives what gets its rows. Raises `Interrupted`.
    """
    return [_one(study, arm, seed, output, begin) for seed in study.seeds for arm in study.arms]


def _one(study: Study, arm: Arm, seed: int, output: Path, begin: Begin) -> Outcome:
    config = study.config(arm, seed, output)
    result = config.folder / RESULT
    if result.is_file():
        return _read(result)
    if config.folder.exists():
        shutil.rmtree(config.folder)
    finish = fit(config, stop_after_s=60 * study.minutes, report=begin(arm, seed))
    if finish.interrupted:
        raise Interrupted
    return _judge(study, arm, seed, finish)


def _judge(study: Study, arm: Arm, seed: int, finish: Finish) -> Outcome:
    policy = load_policy(str(finish.folder / "policy.h5"))
    traffic = study.evaluation.traffic[0]
    values = Evaluation(policy, study.evaluation, filmed=False).run(traffic)
    figures = {name: _number(values.get(name)) for name in FIGURES}
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


def curve_of(path: Path, points: int = CURVE_POINTS) -> list[tuple[float, float]]:
    """[(minutes since the first update, driving score)] of a run's metrics, averaged over equal stretches of time."""
    metrics = read_metrics(path)
    score, spent_s = metrics["teacher/episode/driving_score"], metrics["wall_s"] - metrics["wall_s"][0]
    stretch = np.minimum(points * spent_s // max(spent_s[-1], 1e-9), points - 1)
    known = np.isfinite(score)
    boxes = [known & (stretch == box) for box in np.unique(stretch[known])]
    return [(float(spent_s[box].mean() / 60), float(score[box].mean())) for box in boxes]
