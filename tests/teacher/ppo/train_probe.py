"""A program for tests: train on a probe world with some devices and write what came out.

    python train_probe.py FOLDER DEVICES [COORDINATOR PROCESSES PROCESS]

Not a test itself: the number of devices of a process is fixed before JAX starts.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import jax

from simulator.config import SimulatorConfig
from teacher.config import TeacherConfig
from teacher.network.actor_critic import NetworkConfig
from teacher.ppo.losses import PPOConfig
from teacher.ppo.multihost import initialize
from teacher.ppo.scene_source import FixedMaps
from teacher.run.fit import Run


def probe_conftest():
    """The folder's conftest as a module; pytest alone knows how to import it."""
    spec = importlib.util.spec_from_file_location("probes", Path(__file__).parents[1] / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["probes"] = module
    spec.loader.exec_module(module)
    return module


def main(folder, devices, coordinator=None, processes=None, process=None):
    jax.config.update("jax_num_cpu_devices", int(devices))
    initialize(coordinator, processes and int(processes), process and int(process))
    probes = probe_conftest()
    config = TeacherConfig(
        name="probe",
        output=folder,
        num_worlds=8,
        num_shards=4,
        total_agent_steps=4 * 8 * 4 * 8,
        checkpoint_every=2,
        simulator=SimulatorConfig(num_agents=4),
        network=NetworkConfig(flat_widths=(8,), set_widths=(8,), trunk_widths=(8,)),
        ppo=PPOConfig(rollout_steps=8, minibatch_size=32, epochs=2, keep_fraction=0.5, learning_rate=1e-2),
    )
    environment = probes.Probe(num_worlds=8, num_agents=4, world_age=12).build()
    data = probes.Choice(jax.numpy.asarray(4, jax.numpy.int32), jax.numpy.asarray(False))
    run = Run(config, environment, FixedMaps(data), None)
    run.train()
    print(len(jax.devices()), len(run.state.worlds.signal.sharding.device_set))


if __name__ == "__main__":
    main(*sys.argv[1:])
