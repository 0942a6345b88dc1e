"""Augmentation keeps the two sides of a pair corresponding."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from adaptation.augment import AugmentConfig, augment_pair, mirror, mirrored_order
from simulator.conventions import NUM_TRAITS
from student.observation import EGO_SCALES, Command, Observation, one_hot_command

NAMES = ("front", "front_left", "front_right", "back")
STILL = AugmentConfig(**dict.fromkeys((f.name for f in fields(AugmentConfig)), 0.0))


def observation(batch: int = 6) -> Observation:
    generator = torch.Generator().manual_seed(0)
    return Observation(
        images=torch.randint(0, 256, (batch, 4, 9, 16, 3), generator=generator, dtype=torch.uint8),
        camera_mask=torch.tensor([[True, True, False, False]]).repeat(batch, 1),
        ego=torch.randn(batch, len(EGO_SCALES), generator=generator),
        command=one_hot_command(torch.full((batch,), int(Command.LEFT))),
        conditioning=torch.zeros(batch, NUM_TRAITS),
    )


def same(first: Observation, second: Observation) -> bool:
    names = ("images", "camera_mask", "ego", "command", "conditioning")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


def test_mirroring_twice_is_the_identity() -> None:
    order = mirrored_order(NAMES)
    assert order == [0, 2, 1, 3]
    once = mirror(observation(), order)
    assert once.command.argmax(-1).tolist() == [Command.RIGHT] * 6
    assert once.camera_mask[0].tolist() == [True, False, True, False]
    assert torch.equal(once.images[:, 2], observation().images[:, 1].flip(2))
    assert same(mirror(once, order), observation())


def test_a_rig_without_a_right_camera_cannot_be_mirrored() -> None:
    with pytest.raises(ValueError, match="has no camera 'front_right'"):
        mirrored_order(("front", "front_left"))


def test_nothing_changes_when_everything_is_zero() -> None:
    real, rendering = augment_pair(observation(), observation(), NAMES, STILL)
    assert same(real, observation())
    assert same(rendering, observation())


@pytest.mark.usefixtures("torch_seed")
def test_geometric_changes_are_the_same_on_both_sides() -> None:
    real, rendering = augment_pair(
        observation(), observation(), NAMES, replace(STILL, mirror=0.5, zoom=0.3, shift=0.2, cut=0.5)
    )
    assert same(real, rendering)
    assert not torch.equal(real.images, observation().images)


@pytest.mark.usefixtures("torch_seed")
def test_photometric_changes_leave_the_rendering_as_it_is() -> None:
    photometric = replace(AugmentConfig(), mirror=0.0, zoom=0.0, shift=0.0, cut=0.0)
    real, rendering = augment_pair(observation(), observation(), NAMES, photometric)
    assert same(rendering, observation())
    assert not torch.equal(real.images, observation().images)
    assert torch.equal(real.command, rendering.command)


@pytest.mark.parametrize("change", [{"mirror": 1.5}, {"zoom": -0.1}, {"noise": 9.0}])
def test_impossible_strengths_are_rejected_by_name(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"augment.{next(iter(change))}="):
        AugmentConfig(**change)
