"""Comparisons: what their files may say, which runs are trained, and that budgets, evaluations and resuming hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml

from student.__main__ import StudentCLI, main, run_cli
from student.compare.command import main as compare
from student.compare.run import train
from student.compare.study import load_study
from student.dagger.data import OnPolicyData
from student.module import OptimiserConfig, StudentModule, learning_rate_at
from student.pixel_ppo.data import RolloutData
from student.pixel_ppo.module import PixelPPO

CONFIGS = Path(__file__).parents[3] / "configs" / "student"
DEBUG = CONFIGS / "compare" / "debug.yaml"
STUDIES = sorted({*(CONFIGS / "compare").glob("*.yaml"), *(CONFIGS / "ablation").glob("*.yaml")})
BASES = ("base", "ppo", "ppo_debug")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study of the debug configuration, with changes; None leaves a field out."""

    def make(**changes: Any) -> Path:
        values = {
            "question": "which?",
            "base": str(CONFIGS / "debug.yaml"),
            "arms": {"one": {}, "two": {"data": {"beta_steps": 0}}},
            "agent_steps": 100,
            "seeds": [0, 1],
        } | changes
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}, sort_keys=False))
        return path

    return make


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agent_steps": None}, "agent_steps=None must be a whole number above 0"),
        ({"agent_steps": 1.5}, "agent_steps=1.5 must be a whole number above 0"),
        ({"evaluate_at": [0.5, 1]}, "must be increasing shares of the run from 0 to 1"),
        ({"evaluate_at": [0, 0.5, 0.5, 1]}, "must be increasing shares"),
        ({"minutes": 3}, "unknown key 'minutes'"),
        ({"seeds": [0, "1"]}, "must be a list of different whole numbers"),
        ({"arms": {"one": {}}}, "must name at least two"),
        ({"arms": {"one": {}, "two": 3}}, "arm 'two': 3 must be names with values"),
        ({"arms": {"one": {}, "two": {"learner": "sac"}}}, "learner='sac' must be one of dagger, ppo"),
    ],
)
def test_what_a_study_cannot_mean_is_refused(
    write: Callable[..., Path], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=r"study\.yaml") as refused:
        load_study(write(**changes))
    assert said in str(refused.value)


@pytest.fixture(scope="module")
def parsers() -> dict[str, Any]:
    """The parser of `fit` for each learner."""
    made: dict[str, Any] = {}

    class Parse(StudentCLI):
        def before_instantiate_classes(self) -> None:
            made["ppo" if self.datamodule_class is RolloutData else "dagger"] = self._parser("fit")
            raise InterruptedError

    for classes in ((StudentModule, OnPolicyData), (PixelPPO, RolloutData)):
        with pytest.raises(InterruptedError):
            Parse(*classes, args=["fit", "--seed_everything", "0"], auto_configure_optimizers=False)
    return made


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_settings_of_shipped_studies_exist(path: Path, parsers: dict[str, Any]) -> None:
    """Every arm goes through the real parser; and no evaluation is in a town that is trained in."""
    if path.stem in BASES:
        return
    study = load_study(path)
    found = []
    for arm in study.arms:
        settings = study.settings(arm, 7)
        parsers[arm.learner].parse_object(settings)
        found.append(yaml.safe_dump(settings))
        assert settings["data"]["seed"] == settings["seed_everything"] == 7
        validation = settings["data"]["validation"]
        assert path == DEBUG or not set(validation["maps"]) & set(settings["data"]["world"]["maps"])
    assert len(set(found)) == len(found), "all arms differ"


def test_another_budget_scales_beta(write: Callable[..., Path]) -> None:
    arms = {"long": {"data": {"beta_steps": 80}}, "always": {"data": {"beta_steps": None}}}
    study = load_study(write(arms=arms)).with_agent_steps(250)
    assert study.agent_steps == 250
    assert [arm.arm.values["data"]["beta_steps"] for arm in study.arms] == [200, None]
    with pytest.raises(ValueError, match="--agent_steps 0"):
        study.with_agent_steps(0)


def finished(
    arguments: Sequence[str],
    module: type[StudentModule] = StudentModule,
    data: type[lightning.LightningDataModule] = OnPolicyData,
    callbacks: Sequence[lightning.Callback] = (),
) -> None:
    """In place of a training: a run folder that holds results."""
    folder = Path(arguments[arguments.index("--run") + 1])
    folder.mkdir(parents=True)
    points = [
        {"agent_steps": steps, "labels": steps, "optimiser_steps": 1, "driving_score": 0.5, "commit": "abc"}
        for steps in (0, 100)
    ]
    (folder / "points.json").write_text(json.dumps({"points": points}))
    (folder / "policy.pt").touch()


def test_what_is_finished_is_not_trained_again(write: Callable[..., Path], tmp_path: Path) -> None:
    study, output = str(write()), tmp_path / "out"
    asked: list[str] = []

    def stopped(arguments: Sequence[str], *more: Any) -> None:
        asked.append(Path(arguments[arguments.index("--run") + 1]).name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        finished(arguments)

    with pytest.raises(KeyboardInterrupt):
        compare(["--config", study, "--output", str(output)], stopped)
    assert asked == ["one_0", "two_0", "one_1"], "the runs of a seed come together"
    assert compare(["--config", study, "--output", str(output), "--only", "one"], stopped) == 0
    assert asked[3:] == ["one_1"]
    assert compare(["--config", study, "--output", str(output)], stopped) == 0
    assert asked[4:] == ["two_1"]
    assert compare(["--config", study, "--output", str(output)], stopped) == 0
    assert len(asked) == 5
    stored = json.loads((output / "comparison.json").read_text())
    assert {name: [run["seed"] for run in runs] for name, runs in stored["runs"].items()} == {
        "one": [0, 1],
        "two": [0, 1],
    }
    for name in ("comparison.png", "comparison.md"):
        assert (output / name).is_file()


def test_refusals(write: Callable[..., Path], tmp_path: Path) -> None:
    given = ["compare", "--config", str(write()), "--output", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=r"--only 'twoo' is no arm.*did you mean two"):
        main([*given, "--only", "twoo"])
    with pytest.raises(ValueError, match="--seeds 'a' must be different whole numbers"):
        main([*given, "--seeds", "a"])
    compare(given[1:], finished)
    with pytest.raises(ValueError, match=r"study\.yaml is of another study or other agent-steps"):
        main([*given, "--agent_steps", "5"])
    (tmp_path / "out" / "runs" / "one_0" / "points.json").write_text("[{}]")
    with pytest.raises(ValueError, match=r"points\.json is not the result of a run .*delete its folder"):
        compare(given[1:], finished)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The debug study with one seed, of which the run of self-play DAgger was stopped after its first epoch."""
    output = tmp_path_factory.mktemp("compare")
    study = load_study(DEBUG)
    self_play = study.chosen(["self-play DAgger"])[0]

    def one_epoch(
        arguments: Sequence[str],
        module: type[StudentModule],
        data: type[lightning.LightningDataModule],
        callbacks: Sequence[lightning.Callback],
    ) -> None:
        run_cli([*arguments, "--trainer.max_epochs", "1"], module, data, callbacks)

    train(study, self_play, 0, output, one_epoch, lambda steps: None)
    (output / "runs" / "self_play_DAgger_0" / "policy.pt").unlink()
    names = [word for name in ("self-play DAgger", "single-student DAgger") for word in ("--only", name)]
    assert main(["compare", "--config", str(DEBUG), "--output", str(output), "--seeds", "0", *names]) == 0
    return output


def points_of(output: Path, run: str) -> list[dict[str, Any]]:
    return json.loads((output / "runs" / run / "points.json").read_text())["points"]


def test_a_run_lasts_for_its_experience_and_is_evaluated_on_the_way(ran: Path) -> None:
    study = load_study(DEBUG)
    for run in ("self_play_DAgger_0", "single_student_DAgger_0"):
        points = points_of(ran, run)
        assert len(points) == len(study.evaluate_at)
        steps = [point["agent_steps"] for point in points]
        assert steps[0] == 0
        assert all(step >= share * study.agent_steps for step, share in zip(steps, study.evaluate_at))
        assert steps[-1] < study.agent_steps + 2 * 12 * 2, (
            "at most an epoch more: 2 plans, 12 agents, 2 steps"
        )
        assert points[0]["labels"] == 0 < points[1]["labels"]
        assert all(0 <= point["driving_score"] <= 1 and point["commit"] for point in points)
    many, few = (points_of(ran, f"{name}_DAgger_0")[-1] for name in ("self_play", "single_student"))
    per_step = [point["labels"] / point["agent_steps"] for point in (many, few)]
    assert per_step[0] > 3 * per_step[1], "six agents a world are labelled, or one"


def test_a_run_that_was_stopped_ends_as_one_that_was_not(ran: Path, tmp_path: Path) -> None:
    study = load_study(DEBUG)
    train(study, study.chosen(["self-play DAgger"])[0], 0, tmp_path, run_cli, lambda steps: None)
    first, second = (
        torch.load(output / "runs" / "self_play_DAgger_0" / "policy.pt", weights_only=True)
        for output in (ran, tmp_path)
    )
    for name, weight in first["student_policy"].items():
        assert torch.equal(weight, second["student_policy"][name]), name
    unlike = ("train_s", "wall_s")
    found = [
        [{name: value for name, value in point.items() if name not in unlike} for point in points]
        for points in (points_of(output, "self_play_DAgger_0") for output in (ran, tmp_path))
    ]
    assert found[0] == found[1]


def test_ppo_stops_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    """Two epochs equal one, a resume, and another one."""
    config = tmp_path / "ppo.yaml"
    settings = yaml.safe_load((CONFIGS / "compare" / "ppo_debug.yaml").read_text())
    config.write_text(yaml.safe_dump(settings | {"seed_everything": 3}))

    def fit(name: str, *more: str) -> dict[str, Any]:
        arguments = ["fit", "--config", str(config), "--run", str(tmp_path / name)]
        fixed = ["--model.optimiser.decay_steps", "8", "--trainer.limit_val_batches", "0"]
        run_cli([*arguments, *fixed, *more], PixelPPO, RolloutData)
        return torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)

    whole = fit("whole", "--trainer.max_epochs", "2")
    half = fit("parts", "--trainer.max_epochs", "1")
    parts = fit("parts", "--trainer.max_epochs", "2", "--resume")
    assert whole["global_step"] == parts["global_step"] == 2 * half["global_step"] == 4
    for name, weight in whole["state_dict"].items():
        assert torch.equal(weight, parts["state_dict"][name]), name
    moved = [
        name
        for name in whole["state_dict"]
        if not torch.equal(half["state_dict"][name], whole["state_dict"][name])
    ]
    assert {"actor_critic.value_head.weight", "policy.planner.action_head.project.weight"} <= set(moved)
    assert whole["RolloutData"]["agent_steps"] == parts["RolloutData"]["agent_steps"] > 0


def test_the_learning_rate_falls_with_the_experience() -> None:
    """Half-way a cosine from 1 to 0.5 is at the middle; warm-up is by optimiser steps."""
    config = OptimiserConfig(warmup_steps=20, final_share=0.5)
    assert learning_rate_at(config, 99, 0.5) == pytest.approx(0.75)
    assert learning_rate_at(config, 9, 0.5) == pytest.approx(0.375)
    assert learning_rate_at(config, 99, 1.2) == pytest.approx(0.5)
