"""The configuration that continues the shipped policy among situations: it loads, and fits the policy's network."""

from pathlib import Path

from teacher.config import load_config
from teacher.policy import load_policy

CONFIG = Path(__file__).parents[2] / "configs" / "teacher" / "passing.yaml"


def test_it_continues_the_shipped_policy() -> None:
    """Same network and observation, every kind of situation, and maps that no evaluation uses."""
    config, shipped = load_config(CONFIG), load_policy("pretrained")
    assert config.start_from == "pretrained"
    assert config.network == shipped.network
    assert config.observation == shipped.observation
    situations = config.simulator.situations
    assert min(situations.blocked_lane_share, situations.left_turn_share, situations.merge_share) > 0
    assert config.reward.passing_m > 0
    assert {"Town07", "Town10HD"}.isdisjoint(config.maps)


def test_evaluations_of_such_a_policy_leave_situations_out() -> None:
    policy = load_policy("pretrained").replace(simulator=load_config(CONFIG).simulator)
    assert policy.simulator.situations.share > 0
    assert policy.plain_simulator.situations.share == 0
