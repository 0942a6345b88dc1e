"""The surrogate domain: deterministic, paired, and with a large appearance shift."""

from __future__ import annotations

import pytest
import torch

from adaptation.pairs.pair import Pair
from adaptation.surrogate import SurrogateConfig, pairs_of_observation, shift_appearance, surrogate_pairs
from renderer.camera import CameraRig
from simulator.conventions import NUM_TRAITS
from student.observation import EGO_FEATURES, Observation, one_hot_command

RIG = CameraRig.nuplan(18, 32)
CONFIG = SurrogateConfig(scenes=2, moments_per_scene=2, held_out_scenes=1)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return surrogate_pairs(CONFIG, RIG, backend="reference")


def test_the_appearance_shift_is_deterministic_and_leaves_the_random_state() -> None:
    images = torch.randint(0, 256, (3, 18, 32, 3), dtype=torch.uint8)
    state = torch.get_rng_state()
    first, second = shift_appearance(images), shift_appearance(images)
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(shift_appearance(images[1:2], number=[1])[0], first[1])


def test_shifted_images_differ_from_renderings_but_correlate_with_them(pairs: list[Pair]) -> None:
    for pair in pairs:
        real, rendering = pair.real.float(), pair.rendering.float()
        assert (real - rendering).abs().mean() > 20
        correlation = torch.corrcoef(torch.stack([real.mean(-1).flatten(), rendering.mean(-1).flatten()]))[
            0, 1
        ]
        assert correlation > 0.3


def test_every_scene_has_its_samples_and_a_name_of_its_own(pairs: list[Pair]) -> None:
    assert [pair.name for pair in pairs] == [
        "stand-in/000/0",
        "stand-in/000/1",
        "stand-in/001/0",
        "stand-in/001/1",
    ]
    assert [pair.scene for pair in pairs] == ["stand-in/000"] * 2 + ["stand-in/001"] * 2
    assert all(bool(pair.camera_mask.all()) for pair in pairs)
    assert not torch.equal(pairs[0].rendering, pairs[1].rendering)


def test_the_same_seed_gives_the_same_images(pairs: list[Pair]) -> None:
    again = surrogate_pairs(CONFIG, RIG, backend="reference")
    assert all(
        torch.equal(a.real, b.real) and torch.equal(a.rendering, b.rendering) for a, b in zip(pairs, again)
    )


def test_any_rendered_observation_can_be_paired() -> None:
    observation = Observation(
        images=torch.full((2, 4, 18, 32, 3), 128, dtype=torch.uint8),
        camera_mask=torch.ones(2, 4, dtype=torch.bool),
        ego=torch.zeros(2, EGO_FEATURES),
        command=one_hot_command(torch.tensor([0, 1])),
        conditioning=torch.zeros(2, NUM_TRAITS),
    )
    pairs = pairs_of_observation(observation, ["town-a", "town-b"])
    assert [pair.scene for pair in pairs] == ["town-a", "town-b"]
    assert torch.equal(pairs[0].rendering, observation.images[0])
    with pytest.raises(ValueError, match="names 1 rows of an observation of 2"):
        pairs_of_observation(observation, ["town-a"])


@pytest.mark.parametrize(
    "change", [{"moments_per_scene": 0}, {"held_out_scenes": 24}, {"held_out_scenes": 0}]
)
def test_impossible_counts_are_rejected_by_name(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"stand_in.{next(iter(change))}="):
        SurrogateConfig(**change)
