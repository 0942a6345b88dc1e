"""What is trained, what is frozen, what the loss measures, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch

from adaptation.augment import AugmentConfig
from adaptation.data import AdaptationData
from adaptation.module import AdaptationLoss, AdaptationModule, feature_loss
from adaptation.pairs.pair import Pair, collate
from adaptation.report import mean_errors
from adaptation.surrogate import SurrogateConfig, surrogate_pairs
from renderer.camera import CameraRig
from student.checkpoint import save_policy
from student.module import OptimiserConfig
from student.network.policy import StudentPolicy

SIZE = {"height_px": 18, "width_px": 32}


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    config = SurrogateConfig(scenes=4, moments_per_scene=6, held_out_scenes=1)
    return surrogate_pairs(config, CameraRig.nuplan(18, 32), backend="reference")


def data_of(pairs: Sequence[Pair], **changes: Any) -> AdaptationData:
    data = AdaptationData(source="stand_in", batch_size=8, pairs_per_epoch=32, **SIZE, **changes)
    return data.use(
        [p for p in pairs if p.scene != "stand-in/000"], [p for p in pairs if p.scene == "stand-in/000"]
    )


def trainer(**changes: Any) -> lightning.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 1,
        "log_every_n_steps": 1,
    }
    return lightning.Trainer(**(settings | changes))


def parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


@pytest.mark.usefixtures("torch_seed")
def test_only_the_encoder_of_the_adapted_student_moves(
    pairs: list[Pair], small_student: StudentPolicy
) -> None:
    module = AdaptationModule(small_student)
    before = parameters(module)
    trainer().fit(module, data_of(pairs))
    moved = {name for name, value in module.named_parameters() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("adapted.perception.encoder.") for name in moved)


def test_before_training_both_students_are_one(pairs: list[Pair], small_student: StudentPolicy) -> None:
    module = AdaptationModule(small_student)
    for row in module.errors(collate(pairs[:4])):
        assert row.adapted_m == pytest.approx(row.unadapted_m)
        assert row.unadapted_m > 0


def test_a_pair_of_equal_images_has_no_error(pairs: list[Pair], small_student: StudentPolicy) -> None:
    module = AdaptationModule(small_student)
    same = [Pair(**{**vars(pair), "real": pair.rendering}) for pair in pairs[:3]]
    assert mean_errors(module.errors(collate(same)))["adapted_m"] == pytest.approx(0, abs=1e-6)


def test_the_feature_loss_ignores_missing_cameras() -> None:
    tokens, target = torch.zeros(1, 2, 3), torch.tensor([[[1.0, 1.0, 2.0], [100.0, 100.0, 100.0]]])
    assert float(feature_loss(tokens, target, torch.tensor([[True, False]]))) == pytest.approx(2.0)
    assert float(feature_loss(tokens, target, torch.tensor([[False, False]]))) == 0.0


def test_it_learns_to_see_the_stand_in(
    make_student: Callable[[int], StudentPolicy],
    unchecked_types: Callable[[], AbstractContextManager[None]],
) -> None:
    """On scenes that it did not train on the error falls by well over a third: the mean over untrained students.

    One student says little: how far its plans bend with its features is a matter of its random weights.
    """
    scenes = SurrogateConfig(scenes=24, moments_per_scene=4, held_out_scenes=1)
    mild = AugmentConfig(zoom=0.0, shift=0.0, exposure=0.1, contrast=0.1, saturation=0.1, tint=0.0)
    falls = []
    with unchecked_types():
        data = data_of(surrogate_pairs(scenes, CameraRig.nuplan(18, 32), backend="reference"), augment=mild)
        for seed in range(4):
            lightning.seed_everything(seed, verbose=False)
            optimiser = OptimiserConfig(learning_rate=2e-3, warmup_steps=0)
            module = AdaptationModule(make_student(seed), optimiser=optimiser)
            trainer(max_epochs=50, limit_val_batches=0).fit(module, data)
            trainer().test(module, datamodule=data, verbose=False)
            errors = mean_errors(module.test_errors)
            falls.append(math.log(errors["adapted_m"] / errors["unadapted_m"]))
    assert np.mean(falls) < math.log(0.65)


@pytest.mark.usefixtures("torch_seed")
def test_a_stopped_fit_goes_on_exactly(
    pairs: list[Pair], small_student: StudentPolicy, tmp_path: Path
) -> None:
    """Two epochs are one epoch, a checkpoint, and another one, bit for bit."""

    def fit(epochs: int, checkpoint: str | None = None) -> AdaptationModule:
        lightning.seed_everything(5, verbose=False)
        module = AdaptationModule(small_student, optimiser=OptimiserConfig(warmup_steps=0, decay_steps=8))
        worker = trainer(max_epochs=epochs, enable_checkpointing=True, default_root_dir=tmp_path)
        worker.fit(module, data_of(pairs), ckpt_path=checkpoint)
        worker.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return module

    whole = parameters(fit(2))
    fit(1)
    resumed = parameters(fit(2, str(tmp_path / "1.ckpt")))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_students_come_from_files(
    small_student: StudentPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_policy(small_student, tmp_path / "student.pt")
    module = AdaptationModule(str(tmp_path / "student.pt"))
    assert all(torch.equal(a, b) for a, b in zip(module.frozen.parameters(), small_student.parameters()))
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt"):
        AdaptationModule(str(tmp_path / "nothing.pt"))
    monkeypatch.setattr("student.checkpoint.SHIPPED_FILE", tmp_path / "absent.pt")
    with pytest.raises(FileNotFoundError, match=r"student pretrained: .* is not there"):
        AdaptationModule("pretrained")


@pytest.mark.parametrize(
    "make",
    [
        lambda: AdaptationLoss(feature_weight=-1.0),
        lambda: AdaptationLoss(feature_weight=0.0, trajectory_weight=0.0),
    ],
)
def test_impossible_losses_are_rejected(make: Callable[[], AdaptationLoss]) -> None:
    with pytest.raises(ValueError, match=r"loss\.feature_weight"):
        make()
