"""Runs: N updates + resume + N updates equal 2N bit for bit; folders, interruptions and refusals."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import signal

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from PIL import Image

from gigapixel.run_folder.lock import claimed
from simulator.config import SimulatorConfig
from teacher.__main__ import main
from teacher.config import TeacherConfig, load_config
from teacher.network.actor_critic import NetworkConfig
from teacher.policy import describe_policy, load_policy
from teacher.ppo.losses import PPOConfig
from teacher.ppo.scene_source import FixedMaps
from teacher.run.checkpoint import list_checkpoints
from teacher.run.curves import PANELS, draw_curves, read_curves, read_metrics, save_curves
from teacher.run.fit import Run

CONFIG = TeacherConfig(
    name="probe",
    num_worlds=4,
    total_agent_steps=10 * 4 * 8 * 4,
    checkpoint_every=2,
    simulator=SimulatorConfig(num_agents=4),
    network=NetworkConfig(flat_widths=(8,), set_widths=(8,), trunk_widths=(8,)),
    ppo=PPOConfig(rollout_steps=8, minibatch_size=16, epochs=1),
)
TIMINGS = ("wall_s", "teacher/agent_steps_per_s")


@pytest.fixture
def make_run(make_probe, choose_probe, tmp_path):
    """A session of the run `name` in a temporary folder; with `resume` it continues from the newest checkpoint."""
    environment = make_probe(num_worlds=4, num_agents=4, world_age=12)

    def make(name, resume=False, report=lambda row: None):
        config = dataclasses.replace(CONFIG, name=name, output=str(tmp_path))
        checkpoint = list_checkpoints(config.folder / "checkpoints")[-1] if resume else None
        return Run(config, environment, FixedMaps(choose_probe("action and signal")), checkpoint, report)

    return make


def arrays(checkpoint):
    """Everything in a checkpoint except how long it took."""
    found = {}
    with h5py.File(checkpoint) as file:
        progress = json.loads(file.attrs["progress"])
        file["state"].visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None
        )
    progress.pop("wall_s")
    return progress, {name: value.tobytes() for name, value in found.items()}


def table(folder):
    """The rows of metrics.csv without timings."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {name: cell for name, cell in row.items() if name not in TIMINGS} for row in csv.DictReader(file)
        ]


def newest(folder):
    return list_checkpoints(folder / "checkpoints")[-1]


def test_n_and_resume_and_n_equal_2n(make_run, tmp_path):
    whole = make_run("whole").train()
    assert (whole.updates, whole.agent_steps, whole.interrupted) == (10, CONFIG.total_agent_steps, False)
    make_run("parts").train(stop_at_update=5)  # between two regular checkpoints
    assert make_run("parts", resume=True).train() == dataclasses.replace(whole, folder=tmp_path / "parts")
    assert arrays(newest(tmp_path / "whole")) == arrays(newest(tmp_path / "parts"))
    assert table(tmp_path / "whole") == table(tmp_path / "parts")
    assert len(table(tmp_path / "whole")) == 10


def test_a_killed_run_forgets_what_came_after_its_checkpoint(make_run, tmp_path):
    make_run("whole").train()

    class Killed(BaseException):
        """Stands for SIGKILL: nothing of ours runs after it."""

    def kill(row):
        if row["update"] == 7:
            raise Killed

    with pytest.raises(Killed):
        make_run("killed", report=kill).train()
    assert newest(tmp_path / "killed").stem == "update_000000006"
    assert len(table(tmp_path / "killed")) == 7
    with (tmp_path / "killed" / "metrics.csv").open("a") as file:
        file.write("8,12")  # a row cut short
    make_run("killed", resume=True).train()
    assert arrays(newest(tmp_path / "whole")) == arrays(newest(tmp_path / "killed"))
    assert table(tmp_path / "whole") == table(tmp_path / "killed")


def test_the_first_ctrl_c_ends_the_update_and_saves(make_run, tmp_path):
    def press(row):
        if row["update"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    finish = make_run("stopped", report=press).train()
    assert (finish.interrupted, finish.updates) == (True, 3)
    assert newest(tmp_path / "stopped").stem == "update_000000003"
    assert signal.getsignal(signal.SIGINT) is before
    assert make_run("stopped", resume=True).train().updates == 10


def with_nan(state, place):
    """The state with one number broken: of a world, or of a weight."""
    if place == "world":
        return state.replace(worlds=state.worlds._replace(signal=state.worlds.signal.at[1, 2].set(jnp.nan)))
    kernel = state.params["params"]["critic"]["head"]["kernel"].at[0, 0].set(jnp.nan)
    params = jax.tree.map(lambda leaf: leaf, state.params)
    params["params"]["critic"]["head"]["kernel"] = kernel
    return state.replace(params=params)


@pytest.mark.parametrize(
    ("place", "first"), [("world", "observation/bystanders"), ("weight", "policy/value")]
)
def test_a_broken_number_is_traced_to_where_it_came_from(make_run, tmp_path, place, first):
    run = make_run("broken")
    run.train(stop_at_update=1)
    run.state = with_nan(run.state, place)
    with pytest.raises(
        ValueError, match=f"update 2: {first} is the first tensor with a number that is not finite"
    ):
        run.train()
    assert newest(tmp_path / "broken").stem == "update_000000001"
    assert make_run("broken", resume=True).train().updates == 10


@pytest.fixture(scope="module")
def town_run(repository, tmp_path_factory):
    """`teacher fit` with the debug configuration, stopped half-way, and the arguments that resume it."""
    output = tmp_path_factory.mktemp("runs")
    arguments = ["fit", "--config", str(repository / "configs/teacher/debug.yaml"), "--output", str(output)]
    assert main([*arguments, "--stop_at_update", "1"]) == 0
    assert main([*arguments, "--resume"]) == 0
    assert main([*arguments, "--name", "whole"]) == 0
    return output, arguments


def test_a_town_resumes_exactly(town_run):
    output, _ = town_run
    assert arrays(newest(output / "debug")) == arrays(newest(output / "whole"))
    assert table(output / "debug") == table(output / "whole")


def test_a_run_starts_from_the_weights_of_another(town_run):
    output, arguments = town_run
    taught = output / "debug" / "policy.h5"
    begun = [*arguments, "--start_from", str(taught), "--stop_at_update", "0"]
    assert main([*begun, "--name", "begun"]) == 0
    ours, theirs = (load_policy(output / run / "policy.h5").params for run in ("begun", "debug"))
    assert all(
        jax.tree.leaves(jax.tree.map(lambda one, other: bool(jnp.array_equal(one, other)), ours, theirs))
    )
    with pytest.raises(ValueError, match="network and observation must be those of the file"):
        main([*begun, "--name", "wider", "--network.trunk_widths", "[24]"])
    assert not (output / "wider" / "policy.h5").exists()


def test_a_finished_run_draws_its_curves(town_run, tmp_path):
    """Every column of every panel, one point per update; the picture shows them."""
    folder = town_run[0] / "debug"
    metrics = read_metrics(folder / "metrics.csv")
    drawn = {
        (axes.get_title(), line.get_label()): line.get_xydata()
        for axes in draw_curves(folder / "metrics.csv").axes
        for line in axes.get_lines()
    }
    assert set(drawn) == {(title, label) for title, lines in PANELS.items() for label in lines}
    for title, lines in PANELS.items():
        for label, name in lines.items():
            expected = np.stack([metrics["agent_steps"] / 1e6, metrics[f"teacher/{name}"]], axis=-1)
            np.testing.assert_array_equal(drawn[title, label], expected)
    other = tmp_path / "debug" / "metrics.csv"
    other.parent.mkdir()
    text = (folder / "metrics.csv").read_text()
    entropy = f"{table(folder)[-1]['teacher/loss/entropy']}"
    assert text.count(entropy) == 1
    other.write_text(text.replace(entropy, "2.0"))
    for name, source in (("again", folder / "metrics.csv"), ("other", other)):
        save_curves(source, tmp_path / f"{name}.png")
    shipped, again, changed = (
        np.asarray(Image.open(path))
        for path in (folder / "curves.png", tmp_path / "again.png", tmp_path / "other.png")
    )
    np.testing.assert_array_equal(shipped, again)
    assert shipped.shape == changed.shape
    assert not np.array_equal(shipped, changed)


def test_curves_are_means_over_stretches_of_updates(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("update,teacher/a\n1,1.0\n2,\n3,5.0\n4,7.0\n")
    curves = read_curves(path, points=2)
    assert curves["update"].tolist() == [1.5, 3.5]
    assert curves["teacher/a"].tolist() == [1.0, 6.0]


def test_a_run_folder_is_enough(town_run, repository):
    folder = town_run[0] / "debug"
    config = load_config(folder / "config.yaml")
    shipped = yaml.safe_load((repository / "configs/teacher/debug.yaml").read_text())
    assert config.total_agent_steps == shipped["total_agent_steps"] == 500
    assert config.network.trunk_widths == tuple(shipped["network"]["trunk_widths"])
    about = json.loads((folder / "metadata.json").read_text())
    assert set(about) == {"commit", "python", "versions", "device", "seed"}
    rows = table(folder)
    assert int(rows[-1]["agent_steps"]) >= 500
    assert {"teacher/reward/progress", "teacher/event/collision", "teacher/loss/entropy"} <= set(rows[0])
    assert any(path.stat().st_size > 1000 for path in folder.glob("events.out.tfevents*"))
    policy = load_policy(folder / "policy.h5")
    assert policy.network == config.network
    assert describe_policy(folder / "policy.h5")["agent_steps"] == int(rows[-1]["agent_steps"])


def test_a_run_is_not_overwritten(town_run):
    with pytest.raises(ValueError, match="already holds a run; continue it with --resume"):
        main(town_run[1])


def test_a_changed_configuration_does_not_resume(town_run):
    with pytest.raises(ValueError, match=r"differs .* ppo.epochs is 1 in the run and 2 here; resume"):
        main([*town_run[1], "--resume", "--ppo.epochs", "2"])


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(town_run, tmp_path, caplog):
    output, arguments = town_run
    shutil.copytree(output / "debug", tmp_path / "debug")
    before, last = list_checkpoints(tmp_path / "debug" / "checkpoints")
    last.write_bytes(last.read_bytes()[:5000])
    assert main([*arguments, "--output", str(tmp_path), "--resume"]) == 0
    assert f"resuming from the checkpoint before it, {before}" in caplog.text
    assert arrays(newest(tmp_path / "debug")) == arrays(newest(output / "whole"))
    assert table(tmp_path / "debug") == table(output / "whole")
    assert last.with_name(f"{last.name}.damaged").stat().st_size == 5000


def test_a_refused_resume_changes_no_file(town_run):
    output, arguments = town_run
    before = {path: path.stat().st_mtime_ns for path in (output / "debug").rglob("*")}
    with pytest.raises(ValueError, match="differs"):
        main([*arguments, "--resume", "--ppo.epochs", "2", "--seed", "9"])
    assert {path: path.stat().st_mtime_ns for path in (output / "debug").rglob("*")} == before


def test_a_folder_in_use_is_refused(town_run):
    output, arguments = town_run
    with claimed(output / "debug"), pytest.raises(ValueError, match=rf"in use by process {os.getpid()} "):
        main([*arguments, "--resume"])


def test_device_arrays_are_not_left_in_metrics(make_run, tmp_path):
    rows = []
    make_run("rows", report=rows.append).train(stop_at_update=1)
    assert all(type(value) in (int, float) for value in rows[0].values())
    assert not any(isinstance(value, (jax.Array, np.ndarray)) for value in rows[0].values())
