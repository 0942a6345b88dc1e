"""Train and judge every run of a study, one after the other.

A run that is finished has its figures beside its policy and is not made again; one that was cut short starts anew,
because a run's time would otherwise be measured in two parts.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teacher.ablation.study import Arm, Study
from teacher.evaluate import Evaluation
from teacher.fit import Finish, Row, fit
from teacher.policy import load_policy
from teacher.run_folder import write_json

FIGURES = ("driving_score", "goal_rate", "collision_rate", "offroad_rate", "red_light_rate", "failure_rate")
"""What is kept of an evaluation, besides the share of the recorded way in recorded scenes."""
RESULT = "ablation.json"
CURVE_POINTS = 40


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

    def to_json(self) -> dict[str, Any]:
        """As written beside the policy."""
        return vars(self) | {"curve": [list(point) for point in self.curve]}


class Interrupted(Exception):
    """Somebody asked to stop; what is finished stays."""


def conduct(
    study: Study,
    output: Path,
    begin: Callable[[Arm, int], Callable[[Row], None]] = lambda arm, seed: lambda row: None,
) -> list[Outcome]:
    """Outcomes of all runs, arm by arm within a seed, so that an early look at the folder compares all arms.

    `begin` is told of every run that is made and gives what gets its rows. Raises `Interrupted`.
    """
    outcomes = []
    for seed in study.seeds:
        for arm in study.arms:
            outcomes.append(_one(study, arm, seed, output, begin))
    return outcomes


def _one(
    study: Study, arm: Arm, seed: int, output: Path, begin: Callable[[Arm, int], Callable[[Row], None]]
) -> Outcome:
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
    names = (*FIGURES, "progress_ratio")
    figures = {name: _number(values.get(name)) for name in names}
    outcome = Outcome(arm.name, seed, finish.agent_steps, figures, curve_of(finish.folder / "metrics.csv"))
    write_json(finish.folder / RESULT, outcome.to_json())
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
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    name = "teacher/episode/driving_score"
    seen = [(float(row["wall_s"]), float(row[name])) for row in rows if row.get(name)]
    if not seen:
        return []
    first, last = float(rows[0]["wall_s"]), float(rows[-1]["wall_s"])
    stretch = max((last - first) / points, 1e-9)
    boxes: dict[int, list[tuple[float, float]]] = {}
    for wall_s, score in seen:
        boxes.setdefault(min(int((wall_s - first) / stretch), points - 1), []).append((wall_s - first, score))
    return [
        (sum(x for x, _ in box) / len(box) / 60, sum(y for _, y in box) / len(box))
        for _, box in sorted(boxes.items())
    ]
