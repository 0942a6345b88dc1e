"""The options of an evaluation, and the combinations that are rejected."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.agents.baselines import BASELINES
from simulator.logs.split import ALL, SPLITS
from teacher.evaluation.traffic import LOG_TRAFFIC, SELF, TOWN_TRAFFIC, TRAFFIC_WITH_SHARE

POLICY_DRIVER = "policy"
DRIVERS = (POLICY_DRIVER, *BASELINES)
TOWN_AGENTS, LOG_AGENTS = 16, 64
"""Default numbers of agents per world on maps and in recorded scenes."""
TOWN_SECONDS = 60.0


@dataclass(frozen=True)
class EvaluationConfig:
    """One evaluation. Error messages name the options of `gigapixel teacher evaluate`.

    Attributes:
        maps: Maps to drive on; worlds are distributed over them. Empty where packs are given.
        packs: Packs of recorded scenes to drive instead, each scene once.
        split: Which of the packs' scenes: "all", "train" or "held_out" (see `simulator.logs.split`).
        traffic: Controllers of the other agents (see `teacher.evaluation.traffic`); each is evaluated in turn.
        share: Share of agents that the driver controls, for traffic in TRAFFIC_WITH_SHARE.
        driver: Controller under evaluation: "policy", "constant_velocity" or "idm" (`simulator.agents.baselines`).
        worlds: Parallel worlds; with packs, scenes per batch.
        agents: Agents per world; None is 16 on maps and 64 in recorded scenes.
        seconds: Length of an episode; None is 60 s on maps and the whole recording of a scene, which is the most.
        seed: Of start positions, sizes, routes and controller assignment.
        greedy: Take the most probable action, as labels do, instead of sampling.
        hours, km: Repeat episodes for this many agent-hours or kilometres. At most one of them; maps only.
    """

    maps: tuple[str, ...] = ("Town10HD",)
    packs: tuple[str, ...] = ()
    split: str = ALL
    traffic: tuple[str, ...] = (SELF,)
    share: float | None = None
    driver: str = POLICY_DRIVER
    worlds: int = 16
    agents: int | None = None
    seconds: float | None = None
    seed: int = 0
    greedy: bool = True
    hours: float | None = None
    km: float | None = None

    def __post_init__(self) -> None:
        if bool(self.maps) == bool(self.packs):
            raise ValueError("--map and --pack exclude each other; give exactly one of them")
        self._check_numbers()
        self._check_traffic()
        if self.driver not in DRIVERS:
            raise ValueError(f"--driver {self.driver!r} is unknown; expected one of {', '.join(DRIVERS)}")
        if self.driver != POLICY_DRIVER and not self.greedy:
            raise ValueError(f"--sample needs --driver policy; --driver {self.driver} samples no actions")
        if self.split not in SPLITS:
            raise ValueError(f"--split {self.split!r} is unknown; expected one of {', '.join(SPLITS)}")
        if self.split != ALL and not self.packs:
            raise ValueError(f"--split {self.split} selects recorded scenes; it needs --pack")
        if self.hours is not None and self.km is not None:
            raise ValueError("--hours and --km exclude each other; give one of them")
        if self.packs and self.is_long:
            raise ValueError("--hours and --km need --map; with --pack each scene is driven once")

    def _check_numbers(self) -> None:
        for name in ("worlds", "agents"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} {value} must be at least 1")
        for name in ("seconds", "hours", "km"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"--{name} {value} must be positive")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed {self.seed} must lie between 0 and {2**32 - 1}")

    def _check_traffic(self) -> None:
        known = LOG_TRAFFIC if self.packs else tuple(TOWN_TRAFFIC)
        where = "recorded scenes" if self.packs else "towns"
        for name in self.traffic:
            if name not in known:
                raise ValueError(
                    f"--traffic {name!r} is unknown in {where}; expected one or more of {', '.join(known)}"
                )
        if not self.traffic or len(set(self.traffic)) < len(self.traffic):
            raise ValueError(f"--traffic {','.join(self.traffic)!r} must name at least one kind, each once")
        if self.share is None:
            return
        if not 0 < self.share <= 1:
            raise ValueError(f"--share {self.share} must be above 0 and at most 1")
        if not set(self.traffic) & set(TRAFFIC_WITH_SHARE):
            raise ValueError(
                f"--share has no meaning with --traffic {','.join(self.traffic)}; "
                f"expected {' or '.join(TRAFFIC_WITH_SHARE)}"
            )

    @property
    def is_long(self) -> bool:
        """Whether episodes are repeated for `hours` or `km` instead of one episode per world."""
        return self.hours is not None or self.km is not None

    @property
    def agents_per_world(self) -> int:
        """Agents per world, with its default."""
        return self.agents or (LOG_AGENTS if self.packs else TOWN_AGENTS)

    @property
    def town_seconds(self) -> float:
        """Length of an episode on a map, s."""
        return TOWN_SECONDS if self.seconds is None else self.seconds
