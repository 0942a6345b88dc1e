"""The parity criterion for all backends, as stated in docs/rendering.md."""

from __future__ import annotations

from renderer import Frame, compare_frames


def assert_same(reference: Frame, other: Frame) -> None:
    """No pixel differs away from edges, at most 1 % of those beside an edge do, and without bias."""
    parity = compare_frames(reference, other)
    assert parity.interior_differing == 0, parity
    assert parity.band_differing_share <= 0.01, parity
    assert abs(parity.bias) <= 0.25, parity
