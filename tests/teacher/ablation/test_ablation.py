"""Studies: what their files may say, that every run is made once, and that figures are those of the runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from teacher.ablation.command import main, summary
from teacher.ablation.run import Outcome, curve_of
from teacher.ablation.study import load_study, merged
from teacher.evaluation.command import Evaluator
from teacher.ppo.update import make_update

STUDIES = Path(__file__).parents[3] / "configs" / "teacher" / "ablation"
TINY = Path(__file__).parents[3] / "configs" / "teacher" / "debug.yaml"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study of the debug configuration, with changes; None leaves a field out."""

    def make(**changes: Any) -> Path:
        values = {
            "question": "do checkpoints help?",
            "base": str(TINY),
            "arms": {"rarely": {}, "often": {"checkpoint_every": 1}},
            "minutes": 1e-3,
            "seeds": [0, 1],
            "evaluate": {"maps": ["Town02"], "worlds": 2, "agents": 2, "seconds": 2.0},
        } | changes
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
        return path

    return make


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_studies_are_readable(path: Path) -> None:
    if path.stem == "base":
        return
    study = load_study(path, ("scenes.h5",))
    first, second = (study.config(arm, 0, Path()) for arm in study.arms)
    assert first.ppo.learning_rate == second.ppo.learning_rate
    assert len({repr(study.config(arm, 0, Path())).replace(arm.stem, "") for arm in study.arms}) == 2


def test_changes_are_written_over_the_base_field_by_field() -> None:
    base = {"seed": 1, "ppo": {"epochs": 2, "discount": 0.9}}
    assert merged(base, {"ppo": {"epochs": 3}}) == {"seed": 1, "ppo": {"epochs": 3, "discount": 0.9}}
    assert base["ppo"] == {"epochs": 2, "discount": 0.9}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": None}, "question is missing"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"minutes": 0}, "minutes=0 must be a number above 0"),
        ({"seeds": [0, 0]}, "must be a list of different whole numbers"),
        ({"arms": {"alone": {}}}, "must name at least two"),
        ({"arms": {"a b": {}, "a-b": {"num_worlds": 4}}}, "differ in punctuation only"),
        (
            {"arms": {"one": {}, "two": {"ppo": {"epochz": 1}}}},
            "arm 'two': unknown key 'epochz' in PPOConfig",
        ),
        ({"evaluate": {"maps": [], "packs": "PACKS"}}, "name packs: --packs"),
        ({"evaluate": {"worlds": 0}}, "--worlds 0 must be at least 1"),
    ],
)
def test_what_a_study_cannot_mean_is_refused(
    write: Callable[..., Path], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=r"study\.yaml") as refused:
        load_study(write(**changes))
    assert said in str(refused.value)


@pytest.fixture
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains by one compiled update, which serves all runs of one shape, and drives only the first policy."""
    updates: list[Any] = []
    figures: list[Any] = []

    def update(*settings: Any) -> Any:
        updates[:] = updates or [make_update(*settings)]
        return updates[0]

    def run(evaluation: Evaluator, traffic: str) -> Any:
        figures[:] = figures or [drive(evaluation, traffic)]
        return figures[0]

    drive = Evaluator.run
    monkeypatch.setattr("teacher.run.fit.make_update", update)
    monkeypatch.setattr(Evaluator, "run", run)


@pytest.mark.usefixtures("compiled_once")
def test_a_study_is_conducted_and_goes_on(write: Callable[..., Path], tmp_path: Path) -> None:
    """All arms; what is finished is not made again, what was cut short is."""
    output = tmp_path / "out"
    arguments = ["--config", str(write(seeds=[3])), "--output", str(output)]
    assert main(arguments) == 0
    first = {path.parent.name: path.stat().st_mtime_ns for path in output.glob("runs/*/policy.h5")}
    assert set(first) == {"rarely_3", "often_3"}
    (output / "runs" / "often_3" / "ablation.json").unlink()
    assert main(arguments) == 0
    again = {path.parent.name: path.stat().st_mtime_ns for path in output.glob("runs/*/policy.h5")}
    assert again["rarely_3"] == first["rarely_3"]
    assert again["often_3"] > first["often_3"]
    result = json.loads((output / "ablation.json").read_text())
    own = json.loads((output / "runs" / "rarely_3" / "ablation.json").read_text())
    assert result["arms"]["rarely"]["driving_score"]["seeds"] == [own["figures"]["driving_score"]]
    assert (output / "ablation.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="of another study"):
        main([*arguments, "--minutes", "2"])


def test_means_and_deviations_are_over_seeds(write: Callable[..., Path]) -> None:
    study = load_study(write())
    outcomes = [
        Outcome(arm.name, seed, 1000 * (seed + 1), {"goal_rate": 0.2 * (seed + 1)}, [])
        for arm in study.arms
        for seed in (0, 1)
    ]
    row = summary(study, outcomes)["often"]
    assert row["agent_steps"] == 1500
    assert row["goal_rate"]["mean"] == pytest.approx(0.3)
    assert row["goal_rate"]["std"] == pytest.approx(0.2 / 2**0.5)


def test_a_curve_starts_after_the_first_update_and_averages_stretches(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    rows = [(100, ""), (130, 0.2), (150, 0.4), (220, 0.9)]
    path.write_text(
        "update,wall_s,teacher/episode/driving_score\n"
        + "".join(f"{i + 1},{wall_s},{score}\n" for i, (wall_s, score) in enumerate(rows))
    )
    assert curve_of(path, points=2) == [
        (pytest.approx(2 / 3), pytest.approx(0.3)),
        (pytest.approx(2.0), pytest.approx(0.9)),
    ]
