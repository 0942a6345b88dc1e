"""`student fit|test|predict` from its debug config: run folder, exact resume, outputs, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest
import torch

from student.__main__ import main
from student.checkpoint import load_policy


def arguments(repository: Path, command: str, run: Path, *more: str) -> list[str]:
    config = repository / "configs" / "student" / "debug.yaml"
    return [command, "--config", str(config), "--run", str(run), *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    repository = Path(__file__).resolve().parents[2]
    assert main(arguments(repository, "fit", run, "--model.optimiser.decay_steps", "4")) == 0
    return run


def test_a_run_folder_is_enough(whole: Path) -> None:
    for name in ("config.yaml", "metadata.json", "metrics.csv", "policy.pt", "checkpoints/last.ckpt"):
        assert (whole / name).is_file(), name
    header = (whole / "metrics.csv").read_text().splitlines()[0].split(",")
    for name in (
        "student/train/ade_m",
        "student/data/agent_steps",
        "student/data/beta",
        "student/validate/driving_score",
    ):
        assert name in header
    assert set(json.loads((whole / "metadata.json").read_text())) >= {"commit", "versions", "device", "seed"}


def test_stopping_and_resuming_changes_nothing(whole: Path, repository: Path, tmp_path: Path) -> None:
    """One epoch, then resume for the second, equals two epochs, bit for bit: weights, buffer and worlds."""
    decay = ("--model.optimiser.decay_steps", "4")
    halves = tmp_path / "halves"
    assert main(arguments(repository, "fit", halves, *decay, "--trainer.max_epochs", "1")) == 0
    assert main(arguments(repository, "fit", halves, *decay, "--resume")) == 0
    first = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    second = torch.load(halves / "checkpoints" / "last.ckpt", weights_only=True)
    assert first["global_step"] == second["global_step"] == 4
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "OnPolicyData"):
        assert_same(first[name], second[name], name)


def assert_same(first: object, second: object, where: str) -> None:
    """Nested containers of tensors and numbers are equal."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where  # type: ignore[arg-type]
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where  # type: ignore[attr-defined]
        for key in first:
            assert_same(first[key], second[key], f"{where}.{key}")  # type: ignore[index]
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where  # type: ignore[arg-type]
        for index, pair in enumerate(zip(first, second, strict=True)):  # type: ignore[call-overload]
            assert_same(*pair, f"{where}[{index}]")
    else:
        assert first == second, where


def test_test_and_predict_write_their_files(whole: Path, repository: Path, tmp_path: Path) -> None:
    weights = ("--model.weights", str(whole / "policy.pt"))
    output = tmp_path / "test.json"
    assert main(arguments(repository, "test", whole, *weights, "--output", str(output))) == 0
    metrics = json.loads(output.read_text())
    assert 0 <= metrics["driving_score"] <= 1
    assert metrics["agents"] > 0
    acted = tmp_path / "actions.json"
    actions = ("--data.world.drive_with", "actions", "--output", str(acted))
    assert main(arguments(repository, "test", whole, *weights, *actions)) == 0
    other = json.loads(acted.read_text())
    assert other.keys() == metrics.keys()
    assert other["agents"] == metrics["agents"]
    assert other["comfort_rate"] != metrics["comfort_rate"], "driven by the other head"
    output = tmp_path / "plans.h5"
    assert main(arguments(repository, "predict", whole, *weights, "--output", str(output))) == 0
    with h5py.File(output) as file:
        assert file["trajectory"].shape == file["teacher_trajectory"].shape
        assert file["trajectory"].shape[1:] == (8, 3)


def test_other_settings_are_refused_field_by_field_and_change_no_file(whole: Path, repository: Path) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    other = ("--data.world.maps", "[Town01]", "--data.batch_size", "4", "--trainer.max_epochs", "3")
    words = r"world\.maps is \['Town02'\] in the run and \['Town01'\] here, data\.batch_size is 8 .* 4 here; resume"
    with pytest.raises(ValueError, match=words):
        main(arguments(repository, "fit", whole, "--model.optimiser.decay_steps", "4", "--resume", *other))
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


def test_checkpoints_are_policies_too(whole: Path) -> None:
    small, full = load_policy(whole / "policy.pt"), load_policy(whole / "checkpoints" / "last.ckpt")
    assert small.config == full.config
    assert all(
        torch.equal(a, b)
        for a, b in zip(small.state_dict().values(), full.state_dict().values(), strict=True)
    )


def test_refusals(whole: Path, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"whole already holds a run; give --resume"):
        main(arguments(repository, "fit", whole))
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        main(arguments(repository, "fit", tmp_path / "none", "--resume"))
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="checkpoint_every=0 must be at least 1"):
        main(arguments(repository, "fit", tmp_path / "none", "--checkpoint_every", "0"))
    wider = ("--model.weights", str(whole / "policy.pt"), "--model.policy.encoder.features", "24")
    with pytest.raises(ValueError, match=r"policy\.pt holds another .*features is 16 there and 24 here"):
        main(arguments(repository, "test", whole, *wider))
    with pytest.raises(ValueError, match=r"batch_sise.*did you mean --data\.batch_size"):
        main(arguments(repository, "fit", tmp_path / "x", "--data.batch_sise", "3"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "name",
    [
        "base",
        "cpu",
        "debug",
        "long",
        "drivor",
        "drivor_reg",
        "drivor_debug",
        "drivor_small",
        "drivor_reg_small",
    ],
)
def test_shipped_configs_parse(name: str, repository: Path) -> None:
    """Every config goes through the real parser; only the classes are not built."""
    from student.__main__ import StudentCLI
    from student.dagger.data import OnPolicyData
    from student.module import StudentModule

    class Parse(StudentCLI):
        def before_instantiate_classes(self) -> None:
            raise InterruptedError

    config = repository / "configs" / "student" / f"{name}.yaml"
    with pytest.raises(InterruptedError):
        Parse(
            StudentModule,
            OnPolicyData,
            args=["fit", "--config", str(config)],
            auto_configure_optimizers=False,
        )
