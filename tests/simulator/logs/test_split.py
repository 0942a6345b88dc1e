"""The split of logged scenes: about one in five is held out, as a fixed function of the name."""

import pytest

from simulator.logs.split import HELD_OUT_EVERY, in_split, is_held_out

NAMES = [f"scene-{number:04d}" for number in range(5000)]


def test_one_scene_in_five_is_held_out() -> None:
    held_out = sum(map(is_held_out, NAMES))
    expected = len(NAMES) / HELD_OUT_EVERY
    assert abs(held_out - expected) < 4 * (expected * (1 - 1 / HELD_OUT_EVERY)) ** 0.5, (
        "four standard deviations"
    )


def test_every_scene_is_on_one_side() -> None:
    for name in NAMES[:200]:
        assert in_split(name, "all")
        assert in_split(name, "train") != in_split(name, "held_out")


def test_the_split_does_not_change_between_versions() -> None:
    """Results of different versions are comparable only then."""
    held_out = [name for name in NAMES[:20] if is_held_out(name)]
    assert held_out == [f"scene-{number:04d}" for number in (4, 8, 14, 15, 18)]


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split 'test' is unknown; expected one of all, train, held_out"):
        in_split("scene-0001", "test")
