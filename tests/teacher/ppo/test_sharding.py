"""A run computes the same on one device and on four, in one process and in two."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacher.ppo.multihost import initialize
from teacher.ppo.sharding import Shards, shard, training_mesh
from teacher.run.checkpoint import list_checkpoints

TIMINGS = ("wall_s", "teacher/agent_steps_per_s")


def start(repository, folder, *arguments):
    program = [sys.executable, str(repository / "tests/teacher/ppo/train_probe.py"), str(folder), *arguments]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    return subprocess.Popen(
        program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]
    return output.split()[-2:]


@pytest.fixture(scope="module")
def runs(repository, tmp_path_factory):
    """Folders of the same run, and (devices, devices that hold worlds): on one device, on four, on two by two."""
    folder = tmp_path_factory.mktemp("runs")
    first = [start(repository, folder / "one", "1"), start(repository, folder / "four", "4")]
    seen = {name: finish(process) for name, process in zip(("one", "four"), first)}
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    both = [start(repository, folder / "hosts", "2", f"localhost:{port}", "2", str(i)) for i in range(2)]
    seen["hosts"], _ = [finish(process) for process in both]
    return folder, seen


def metrics(folder):
    with (folder / "probe" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{n: float(c) for n, c in row.items() if n not in TIMINGS and c} for row in rows]


def weights(folder):
    with h5py.File(list_checkpoints(folder / "probe" / "checkpoints")[-1]) as file:
        found = {}
        file["state"].visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None
        )
        return found


@pytest.mark.parametrize("other", ["four", "hosts"])
def test_devices_do_not_change_what_is_learnt(runs, other):
    folder, seen = runs
    assert seen["one"] == ["1", "1"]
    assert seen[other] == ["4", "4"]
    one, many = metrics(folder / "one"), metrics(folder / other)
    assert len(one) == len(many) == 4
    for left, right in zip(one, many):
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_allclose(right[name], left[name], rtol=1e-4, atol=1e-5, err_msg=name)
    one, many = weights(folder / "one"), weights(folder / other)
    assert one.keys() == many.keys()
    for name in one:
        np.testing.assert_allclose(many[name], one[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_shards_side_by_side_see_their_own_worlds_and_the_same_sums():
    def count(shards, state, data):
        total = shards.sum(jnp.sum(state["worlds"]))
        most = shards.max(state["worlds"].max())
        return {"worlds": state["worlds"] + data, "total": total}, {"most": most}

    layout = {"worlds": True, "total": False}
    state = {"worlds": jnp.arange(6.0), "total": jnp.zeros(())}
    dealt = shard(count, layout, 3, training_mesh(1))
    following, found = jax.jit(dealt)(state, jnp.asarray(10.0))
    np.testing.assert_array_equal(following["worlds"], 10.0 + np.arange(6))
    assert following["total"] == 15.0
    assert found["most"] == 5.0
    keys = jax.vmap(lambda _: jax.random.key_data(Shards(3, ("s",)).own(jax.random.key(0))), axis_name="s")(
        jnp.arange(3)
    )
    assert len(np.unique(np.asarray(keys), axis=0)) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((None, 2, None), "need --coordinator HOST:PORT"),
        (("localhost:1234", 2, None), "needs --num_processes N and --process_id"),
        (("localhost:1234", 2, 2), "from 0 to N - 1; found 2 and 2"),
        (("localhost", 2, 0), "must be HOST:PORT"),
    ],
)
def test_incomplete_addresses_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        initialize(*arguments)
