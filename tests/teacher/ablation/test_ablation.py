"""Studies: what their files may say, that arms train as configured and once, and that metrics are theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml
from PIL import Image

from gigapixel.run_folder.config.study_file import merged
from simulator.metrics.summary import Metrics
from teacher.__main__ import parse_fit
from teacher.ablation.command import main, study_summary
from teacher.ablation.plot import draw_study
from teacher.ablation.run import METRICS, Outcome, curve_of
from teacher.ablation.study import load_study
from teacher.config import to_dict
from teacher.evaluation.command import Evaluator
from teacher.evaluation.config import EvaluationConfig
from teacher.network.actor_critic import TeacherNetwork, init_params
from teacher.observation.observe import example_observation
from teacher.policy import Policy, load_policy, save_policy

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
        path.write_text(
            yaml.safe_dump(
                {key: value for key, value in values.items() if value is not None}, sort_keys=False
            )
        )
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
def scored_by_weights(monkeypatch: pytest.MonkeyPatch) -> list[EvaluationConfig]:
    """Evaluates a policy to a score that only its weights decide; gives the configurations that were asked for."""
    asked: list[EvaluationConfig] = []

    def run(evaluator: Evaluator, traffic: str) -> dict[str, object]:
        assert traffic == evaluator.config.traffic[0]
        asked.append(evaluator.config)
        return {"driving_score": score_of(evaluator.policy), "goal_rate": None, "wall_s": 1.0}

    monkeypatch.setattr(Evaluator, "run", run)
    return asked


def score_of(policy: Policy) -> float:
    """A number in [0, 1) for the policy's weights."""
    return float(np.mean([np.abs(leaf).mean() for leaf in jax.tree.leaves(policy.params)]) % 1.0)


def test_arms_train_as_they_say_and_a_study_goes_on(
    write: Callable[..., Path], scored_by_weights: list[EvaluationConfig], tmp_path: Path
) -> None:
    """With a step size of nearly zero, the arm that starts from a policy ends with its weights, and the other does not;
    each run's own policy is evaluated; what was cut short is trained anew, what is finished is not."""
    config = parse_fit(["--config", str(TINY)])[0]
    shape = example_observation(config.observation)
    start = init_params(TeacherNetwork(config.network), shape, jax.random.key(99))
    save_policy(tmp_path / "start.h5", start, config, commit="", agent_steps=0)
    base = to_dict(config) | {"ppo": to_dict(config.ppo) | {"learning_rate": 1e-12, "weight_decay": 0.0}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    arms = {"new weights": {}, "warm start": {"start_from": str(tmp_path / "start.h5")}}
    study = write(base="base.yaml", arms=arms, seeds=[3])
    output = tmp_path / "out"
    cut_short = output / "runs" / "warm_start_3" / "metrics.csv"
    cut_short.parent.mkdir(parents=True)
    cut_short.write_text("of a run that was interrupted")
    assert main(["--config", str(study), "--output", str(output)]) == 0
    assert cut_short.read_text().startswith("update,")

    runs = {name: output / "runs" / name for name in ("new_weights_3", "warm_start_3")}
    assert {path.name for path in output.glob("runs/*")} == set(runs)
    policies = {name: load_policy(folder / "policy.h5") for name, folder in runs.items()}
    wanted = load_policy(tmp_path / "start.h5").params
    same = {
        name: all(map(np.array_equal, jax.tree.leaves(policy.params), jax.tree.leaves(wanted)))
        for name, policy in policies.items()
    }
    assert same == {"new_weights_3": False, "warm_start_3": True}

    scores = {name: score_of(policy) for name, policy in policies.items()}
    assert len(set(scores.values())) == 2
    result = json.loads((output / "ablation.json").read_text())
    assert result["arms"]["new weights"]["driving_score"]["seeds"] == [scores["new_weights_3"]]
    assert result["arms"]["warm start"]["driving_score"]["seeds"] == [scores["warm_start_3"]]
    assert "goal_rate" not in result["arms"]["warm start"]
    assert scored_by_weights == [load_study(study).evaluation] * 2
    assert Image.open(output / "ablation.png").size[0] > 1000

    first = [(folder / "policy.h5").stat().st_mtime_ns for folder in runs.values()]
    assert main(["--config", str(study), "--output", str(output)]) == 0
    assert [(folder / "policy.h5").stat().st_mtime_ns for folder in runs.values()] == first
    assert json.loads((output / "ablation.json").read_text())["arms"] == result["arms"]
    with pytest.raises(ValueError, match="of another study"):
        main(["--config", str(study), "--output", str(output), "--minutes", "2"])


def test_the_metrics_that_are_kept_exist() -> None:
    assert set(METRICS) <= set(Metrics.__dataclass_fields__)


def test_the_plot_shows_the_outcomes(write: Callable[..., Path]) -> None:
    study = load_study(write())
    outcomes = [
        Outcome("rarely", 0, 1, {"driving_score": 0.2, "goal_rate": 0.5}, [(0.0, 0.0), (2.0, 0.4)]),
        Outcome("rarely", 1, 1, {"driving_score": 0.4, "goal_rate": None}, [(0.0, 0.2), (2.0, 0.6)]),
        Outcome("often", 0, 1, {"driving_score": 0.9}, [(1.0, 0.5), (3.0, 0.7)]),
    ]
    figure = draw_study(study, outcomes)
    curves, bars = figure.axes
    means = {line.get_label(): line for line in curves.lines if not line.get_label().startswith("_")}
    assert set(means) == {"rarely", "often"}
    np.testing.assert_allclose(means["rarely"].get_xdata(), np.linspace(0.0, 2.0, 60))
    np.testing.assert_allclose(means["rarely"].get_ydata(), np.linspace(0.1, 0.5, 60))
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["rarely", "often"]
    assert [label.get_text() for label in bars.get_xticklabels()][:2] == ["driving score", "goals reached"]
    heights = {
        (round(bar.get_x() + bar.get_width() / 2, 2), round(bar.get_height(), 6)) for bar in bars.patches
    }
    assert heights == {(-0.2, 0.3), (0.8, 0.5), (0.2, 0.9)}
    dots = {
        (round(float(x), 2), float(y)) for line in bars.lines for x, y in zip(*line.get_data(), strict=True)
    }
    assert dots == {(-0.2, 0.2), (-0.2, 0.4), (0.8, 0.5), (0.2, 0.9)}
    assert figure.get_suptitle() == study.question


def test_means_and_deviations_are_over_seeds(write: Callable[..., Path]) -> None:
    study = load_study(write())
    outcomes = [
        Outcome(arm.name, seed, 1000 * (seed + 1), {"goal_rate": 0.2 * (seed + 1)}, [])
        for arm in study.arms
        for seed in (0, 1)
    ]
    row = study_summary(study, outcomes)["often"]
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
