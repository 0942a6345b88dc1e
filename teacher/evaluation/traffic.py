"""Which partner policies control the other agents in an evaluation.

Self-play policies overfit to their own behaviour, so the same policy is also evaluated with other partner policies
(zero-shot coordination). Metrics count only the agents that the evaluated driver controls.

| traffic | on a map                                             | in a recorded scene                                |
|---------|------------------------------------------------------|----------------------------------------------------|
| self    | the driver controls all agents                       | the driver controls every controllable vehicle     |
| idm     | IDM (intelligent driver model) controls half of them | IDM controls half of these vehicles                |
| mixed   | IDM controls a quarter; others are parked, crashed, blind or brake without reason | -                     |
| replay  | -                                                    | the driver controls the ego; others replay the log |
"""

import dataclasses
from typing import Any

from simulator.config import CONTROLLER_SHARES, SimulatorConfig
from simulator.reset.log_scenario import ReplayConfig

SELF = "self"
TOWN_TRAFFIC: dict[str, dict[str, float]] = {
    SELF: {},
    "idm": {"idm_share": 0.5},
    "mixed": {  # leaves as many agents to the driver as "idm"; blind and braking shares are GIGAFLOW's
        "idm_share": 0.25,
        "parked_share": 0.08,
        "crashed_share": 0.02,
        "blind_share": 0.05,
        "braker_share": 0.10,
    },
}
"""Shares of agents with other controllers by traffic name; shares that are not listed are 0."""
LOG_TRAFFIC = (SELF, "replay", "idm")
TRAFFIC_WITH_SHARE = ("replay", "idm")
"""Traffic for which the share of agents that the driver controls can be chosen."""


def with_traffic(config: SimulatorConfig, traffic: str, share: float | None = None) -> SimulatorConfig:
    """The simulator with this traffic on maps. With "idm", the driver controls ``share`` of the agents (default: half).

    Start positions, sizes, routes and goals of the agents do not depend on the traffic.
    """
    shares = TOWN_TRAFFIC[traffic]
    if share is not None and traffic in TRAFFIC_WITH_SHARE:
        shares = {"idm_share": 1.0 - share}
    changes: dict[str, Any] = {name: shares.get(name, 0.0) for name in CONTROLLER_SHARES}
    return dataclasses.replace(config, **changes)


def replay_config(traffic: str, share: float | None = None) -> ReplayConfig:
    """Controllers of the agents in recorded scenes. The driver controls ``share`` of the vehicles, by default the ego
    alone ("replay") or half of them ("idm"); the ego is always among them."""
    if traffic == SELF:
        return ReplayConfig(policy_share=1.0)
    if traffic == "replay":
        return ReplayConfig(ego_only=True) if share is None else ReplayConfig(policy_share=share)
    driven = 0.5 if share is None else share
    return ReplayConfig(policy_share=driven, idm_share=1.0 - driven)
