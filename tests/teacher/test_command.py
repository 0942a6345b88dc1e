"""The command line: shipped files are good, overrides count, and each mistake is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.reset.log_scenario import ReplayConfig
from teacher.__main__ import main, parse_fit
from teacher.config import (
    REMOVED_OPTIONS,
    TeacherConfig,
    from_dict,
    load_config,
    to_yaml,
)

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "teacher").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_are_accepted(path):
    config, options = parse_fit(["--config", str(path)])
    assert config.name == path.stem
    assert (options.resume, options.stop_at_update, options.coordinator) == (False, None, None)
    assert set(config.maps).isdisjoint({"Town07", "Town10HD"})  # kept for evaluation


def test_there_are_configurations():
    assert {path.stem for path in CONFIGS} >= {"base", "cpu", "debug"}


def test_overrides_count():
    arguments = [
        "--config",
        str(CONFIGS[0]),
        "--ppo.learning_rate",
        "3e-4",
        "--network.set_widths",
        "[24]",
        "--resume",
    ]
    config, options = parse_fit([*arguments, "--maps", "[Town02]"])
    assert (config.ppo.learning_rate, config.network.set_widths, config.maps, options.resume) == (
        3e-4,
        (24,),
        ("Town02",),
        True,
    )


def test_a_configuration_survives_its_file(tmp_path):
    config = parse_fit(["--config", str(CONFIGS[0])])[0]
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_config(path) == config


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ppo.epochs", "0"], "ppo.epochs=0 must be at least 1"),
        (["--ppo.epochs", "many"], "ppo.epochs.*many"),
        (["--ppo.momentum", "1"], "--ppo.momentum"),
        (["--num_worlds", "-3"], "num_worlds=-3 must be at least 1"),
        (["--seed", "-1"], "seed=-1 must lie between"),
        (["--name", "../up"], "name='../up' must be a plain folder name"),
        (["--maps", "[]"], "maps=.* must list at least one town"),
        (["--simulator.timestep_s", "0.3"], "timestep_s=0.3 must divide 0.5 s"),
        (["--ppo.minibatch_size", "99999999"], "minibatch_size=99999999 is larger than the"),
        (["--stop_at_update", "-1"], "stop_at_update -1 must be 0 or above"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--epochs", "3"], "--epochs.*; did you mean --ppo.epochs"),
    ],
)
def test_mistakes_are_one_sentence(arguments, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence) as refusal:
        parse_fit(arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("frobnicate: 3", "frobnicate"),
        ("ppo:\n  bar: 1", "bar"),
        ("ppo: [1", r"bad\.yaml, line \d+: is not YAML"),
        ("ppo:\n  epochs: 0", "epochs=0"),
        ("seed: 1\nname: a\nseed: 2", r"bad\.yaml: the key 'seed' is given twice, in lines 1 and 3"),
        ("reward:\n  collision: [.nan, 1.0]", r"reward\.collision\[0\]=nan must be a finite number"),
        ("ppo:\n  max_grad_norm: .inf", r"ppo\.max_grad_norm=inf must be a finite number"),
        ("", r"bad\.yaml: is empty"),
        ("- 3", r"bad\.yaml: holds list"),
    ],
)
def test_mistakes_in_a_file_are_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence) as refusal:
        parse_fit(["--config", str(path)])
    assert "\n" not in str(refusal.value)


def test_an_unknown_town_or_command_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown teacher command 'train'"):
        main(["train"])
    with pytest.raises(ValueError, match="Town99"):
        main(["fit", "--config", str(CONFIGS[0]), "--maps", "[Town99]", "--output", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_more_agents_than_the_road_can_hold_are_refused(tmp_path):
    arguments = [
        "fit",
        "--maps",
        "[Town02]",
        "--simulator.num_agents",
        "5000",
        "--num_worlds",
        "1",
        "--output",
        str(tmp_path),
    ]
    with pytest.raises(ValueError, match="num_agents=5000 is more than"):
        main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_help_is_help(capsys):
    assert main(["--help"]) == 0
    assert "evaluate" in capsys.readouterr().out
    assert main([]) == 2


def test_unknown_and_mistyped_keys_of_a_dictionary_are_refused():
    with pytest.raises(
        ValueError, match=r"f\.yaml: unknown key 'horizon' in PPOConfig; known keys: rollout_steps"
    ):
        from_dict(TeacherConfig, {"ppo": {"horizon": 3}}, "f.yaml")
    with pytest.raises(ValueError, match=r"f\.yaml: epochs='three' of PPOConfig must be a whole number"):
        from_dict(TeacherConfig, {"ppo": {"epochs": "three"}}, "f.yaml")
    with pytest.raises(ValueError, match=r"f\.yaml: expected a mapping with the fields of PPOConfig"):
        from_dict(TeacherConfig, {"ppo": 3}, "f.yaml")


def test_options_of_earlier_versions_are_read_at_their_default_only():
    for name, options in REMOVED_OPTIONS.items():
        kind = {"ReplayConfig": ReplayConfig}[name]
        assert from_dict(kind, dict(options), "f.yaml") == kind()
        for key in options:
            with pytest.raises(ValueError, match=rf"f\.yaml: {key}='other' of {name} is no longer supported"):
                from_dict(kind, options | {key: "other"}, "f.yaml")
