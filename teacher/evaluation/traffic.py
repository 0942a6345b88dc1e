"""In whose company a driver is evaluated: towns and recorded scenes in which not everybody drives as it does.

A policy trained by self-play knows its own manners best. The same drive among drivers of another kind tells how much
of its skill is skill, and how much is an understanding with itself. Only the agents that it drives count.

| traffic | in a town                                                 | in a recorded scene                        |
|---------|-----------------------------------------------------------|--------------------------------------------|
| self    | it drives everybody                                       | it drives every vehicle that can be driven |
| idm     | half of the agents drive by the intelligent driver model  | half of these vehicles do                  |
| mixed   | a quarter drives by it; others are parked, crashed, blind or brake for no reason | -                   |
| replay  | -                                  | it drives the recording car; everybody else replays the log       |
"""

import dataclasses
from typing import Any

from simulator.config import ROLE_SHARES, SimulatorConfig
from simulator.reset.log_scenario import ReplayConfig

SELF = "self"
TOWN_TRAFFIC: dict[str, dict[str, float]] = {
    SELF: {},
    "idm": {"idm_share": 0.5},
    "mixed": {  # as many agents are left to drive as with "idm"; blind and braking shares are GIGAFLOW's
        "idm_share": 0.25,
        "parked_share": 0.08,
        "crashed_share": 0.02,
        "blind_share": 0.05,
        "braker_share": 0.10,
    },
}
"""Shares of agents in other roles by the traffic's name; a role that is not named has none."""
LOG_TRAFFIC = (SELF, "replay", "idm")
SHARED = ("replay", "idm")
"""Traffic of which the share of agents that the driver gets can be chosen."""


def in_traffic(config: SimulatorConfig, traffic: str, share: float | None = None) -> SimulatorConfig:
    """Towns with this traffic. With "idm", ``share`` of the agents for the driver instead of half of them.

    Agents start in the same places with the same bodies, routes and goals whatever the traffic.
    """
    shares = TOWN_TRAFFIC[traffic]
    if share is not None and traffic in SHARED:
        shares = {"idm_share": 1.0 - share}
    changes: dict[str, Any] = {name: shares.get(name, 0.0) for name in ROLE_SHARES}
    return dataclasses.replace(config, **changes)


def replay_in(traffic: str, share: float | None = None) -> ReplayConfig:
    """Who drives what in recorded scenes. ``share`` of vehicles for the driver instead of the recording car alone
    ("replay") or half of them ("idm"); the recording car is always the first."""
    if traffic == SELF:
        return ReplayConfig(policy_share=1.0)
    if traffic == "replay":
        return ReplayConfig(ego_only=True) if share is None else ReplayConfig(policy_share=share)
    driven = 0.5 if share is None else share
    return ReplayConfig(policy_share=driven, idm_share=1.0 - driven)
