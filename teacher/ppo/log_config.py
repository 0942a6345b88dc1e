"""Configuration of training in logged traffic; see `log_environment.py`."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.logs.split import SPLITS, TRAIN
from simulator.reset.log_scenario import ReplayConfig


@dataclass(frozen=True)
class LogConfig:
    """Training in logged traffic instead of on maps.

    Attributes:
        packs: scene packs (`gigapixel scenes ...`); empty: train on `maps`.
        split: scenes to train in: `train` leaves out those that evaluations hold out (see `simulator.logs.split`).
        num_scenes: different scenes in a batch; must divide num_worlds.
        updates_per_batch: updates driven in a batch before the next takes its place.
        replay: which logged tracks are driven by policy.
    """

    packs: tuple[str, ...] = ()
    split: str = TRAIN
    num_scenes: int = 16
    updates_per_batch: int = 4
    replay: ReplayConfig = field(default_factory=ReplayConfig)

    def __post_init__(self) -> None:
        if isinstance(self.packs, str):
            raise ValueError(f"logs.packs={self.packs!r} must be a list of scene packs, such as [womd.h5]")
        if self.split not in SPLITS:
            raise ValueError(f"logs.split={self.split!r} is unknown; try one of {', '.join(SPLITS)}")
        for name in ("num_scenes", "updates_per_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"logs.{name}={getattr(self, name)} must be at least 1")
