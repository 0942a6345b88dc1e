"""Configuration of training in logged traffic; see `log_environment.py`."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.logs.split import SPLITS, TRAIN
from simulator.reset.log_scenario import ReplayConfig


@dataclass(frozen=True)
class LogConfig:
    """Training in logged traffic, instead of on maps or beside them.

    Attributes:
        packs: scene packs (`gigapixel scenes ...`); empty: train on `maps`.
        split: scenes to train in: `train` leaves out those that evaluations hold out (see `simulator.logs.split`).
        num_scenes: different scenes in a batch; must divide num_worlds.
        updates_per_batch: updates driven in a batch before the next takes its place.
        town_share: share of resets that draw one of `maps` instead of a scene. If positive, all maps and scenes are
            kept in memory, and num_scenes and updates_per_batch do not apply.
        replay: which logged tracks are driven by policy.
    """

    packs: tuple[str, ...] = ()
    split: str = TRAIN
    num_scenes: int = 16
    updates_per_batch: int = 4
    town_share: float = 0.0
    replay: ReplayConfig = field(default_factory=ReplayConfig)

    def __post_init__(self) -> None:
        if isinstance(self.packs, str):
            raise ValueError(f"logs.packs={self.packs!r} must be a list of scene packs, such as [womd.h5]")
        if self.split not in SPLITS:
            raise ValueError(f"logs.split={self.split!r} is unknown; try one of {', '.join(SPLITS)}")
        for name in ("num_scenes", "updates_per_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"logs.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.town_share < 1:
            raise ValueError(
                f"logs.town_share={self.town_share} must lie in [0, 1); without packs all worlds are in towns"
            )
        if self.town_share > 0 and not self.packs:
            raise ValueError(
                f"logs.town_share={self.town_share} has no effect without logs.packs; expected scene packs, such as "
                "[womd.h5]"
            )
