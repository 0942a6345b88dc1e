"""How many of the spawned worlds contain a situation that random traffic rarely has."""

from dataclasses import dataclass

SITUATION_SHARES = ("blocked_lane_share", "left_turn_share", "merge_share")
"""Settings: shares of worlds with each kind of situation."""


@dataclass(frozen=True)
class SituationConfig:
    """Shares of worlds that contain a situation; a world contains one kind, as often as its agents suffice for.

    Attributes:
        blocked_lane_share: A parked car stands in the middle of a lane, an agent comes up behind it, and beside it is a
            lane of either direction, with up to three cars on it.
        left_turn_share: An agent turns across the way of up to four oncoming cars; the traffic lights of the world are
            off.
        merge_share: Two lanes become one, with up to three cars on each; the traffic lights of the world are off.
        detour_share: Share of the agents behind a parked car whose route leads around it, half of them only part of the
            way; all others have to leave their route.
    """

    blocked_lane_share: float = 0.0
    left_turn_share: float = 0.0
    merge_share: float = 0.0
    detour_share: float = 0.0

    def __post_init__(self) -> None:
        for name in (*SITUATION_SHARES, "detour_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"situations {name}={getattr(self, name)} must lie in [0, 1]")
        if self.share > 1 + 1e-6:
            raise ValueError(
                f"situations {' + '.join(SITUATION_SHARES)} is {self.share:g}; it must not exceed 1"
            )
        if self.detour_share > 0 and self.blocked_lane_share == 0:
            raise ValueError(
                f"situations detour_share={self.detour_share} has no effect with blocked_lane_share=0; expected a "
                "positive blocked_lane_share"
            )

    @property
    def share(self) -> float:
        """Share of worlds with any situation."""
        return sum(getattr(self, name) for name in SITUATION_SHARES)
