"""What an evaluation may be asked for, and the traffic that its names stand for."""

import pytest

from simulator.config import SimulatorConfig
from teacher.evaluation.command import parse_evaluation
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.traffic import TOWN_TRAFFIC, replay_config, with_traffic


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--worlds", "0"], "--worlds 0 must be at least 1"),
        (["--agents", "0"], "--agents 0 must be at least 1"),
        (["--seconds", "-1"], r"--seconds -1\.0 must be positive"),
        (["--seed", "-1"], "--seed -1 must lie between 0"),
        (
            ["--traffic", "jam"],
            "--traffic 'jam' is unknown in towns; expected one or more of self, idm, mixed",
        ),
        (["--traffic", "replay"], "--traffic 'replay' is unknown in towns"),
        (
            ["--pack", "a.h5", "--traffic", "mixed"],
            "'mixed' is unknown in recorded scenes; .* self, replay, idm",
        ),
        (["--traffic", "idm,idm"], "'idm,idm' must name at least one kind, each once"),
        (["--traffic", ","], "must name at least one"),
        (["--driver", "autopilot"], "'autopilot' is unknown; expected one of policy, constant_velocity, idm"),
        (["--driver", "constant_velocity", "--sample"], "--driver constant_velocity samples no actions"),
        (["--map", "Town02", "--pack", "a.h5"], "--map and --pack exclude each other"),
        (["--map", ","], "give exactly one of them"),
        (["--pack", ","], "give exactly one of them"),
        (["--split", "held_out"], "--split held_out selects recorded scenes; it needs --pack"),
        (
            ["--pack", "a.h5", "--split", "test"],
            "--split 'test' is unknown; expected one of all, train, held_out",
        ),
        (["--share", "0.5"], "--share has no meaning with --traffic self; expected replay or idm"),
        (["--traffic", "idm", "--share", "0"], r"--share 0\.0 must be above 0 and at most 1"),
        (["--hours", "0"], r"--hours 0\.0 must be positive"),
        (["--hours", "1", "--km", "1"], "--hours and --km exclude each other"),
        (["--pack", "a.h5", "--km", "1"], "with --pack each scene is driven once"),
        (["--hours", "1", "--videos", "v"], "--videos needs whole episodes"),
        (["--num_videos", "0"], "--num_videos 0 must be at least 1"),
        (["--pack", "a.h5", "--picture", "p.png"], "use --videos with --pack"),
    ],
)
def test_impossible_wishes_are_refused_in_a_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refusal:
        parse_evaluation(arguments)
    assert "\n" not in str(refusal.value)


def test_defaults_depend_on_the_place() -> None:
    town, logs = parse_evaluation([])[1], parse_evaluation(["--pack", "a.h5,b.h5"])[1]
    assert (town.maps, town.agents_per_world, town.town_seconds) == (("Town10HD",), 16, 60.0)
    assert (logs.maps, logs.packs, logs.agents_per_world, logs.seconds) == ((), ("a.h5", "b.h5"), 64, None)
    assert EvaluationConfig() == town


@pytest.mark.parametrize("traffic", sorted(TOWN_TRAFFIC))
def test_traffic_of_towns_leaves_no_other_roles(traffic: str) -> None:
    """Whatever roles a policy was trained with, an evaluation's are its own; half are left to drive in company."""
    trained_with = SimulatorConfig(idm_share=0.3, parked_share=0.1, blind_share=0.1)
    config = with_traffic(trained_with, traffic)
    assert config.mixed_share == pytest.approx(0.0 if traffic == "self" else 0.5)
    assert config.num_agents == trained_with.num_agents
    assert with_traffic(trained_with, "idm", 0.8).idm_share == pytest.approx(0.2)


def test_traffic_of_recorded_scenes() -> None:
    assert (replay_config("self").policy_share, replay_config("self").idm_share) == (1.0, 0.0)
    assert replay_config("replay").ego_only
    some = replay_config("replay", 0.3)
    assert (some.ego_only, some.policy_share, some.idm_share) == (False, 0.3, 0.0)
    assert (replay_config("idm").policy_share, replay_config("idm", 0.25).idm_share) == (0.5, 0.75)
