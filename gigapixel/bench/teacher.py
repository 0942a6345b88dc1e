"""What `gigapixel bench teacher` measures: whole training updates, and how their time is spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gigapixel.bench.command import Workload
from gigapixel.bench.device_info import jax_device

COMPARED = 16
"""Updates whose time is divided into parts: worlds that began together end together, so it takes whole episodes."""


@dataclass(frozen=True)
class TeacherSettings:
    """One whole training update per call: resets, rollout, advantages, filter and gradient steps.

    Attributes:
        config: training configuration (YAML) whose update is measured.
        policy: policy that the measured training starts from; empty: new weights, whose agents crash early, so that
            fewer of them are left to be counted.
        window_s: least length of a timed window.
    """

    config: str = "configs/teacher/cpu.yaml"
    policy: str = ""
    window_s: float = 5.0


def teacher_workload(settings: TeacherSettings) -> Workload:
    """Training from the first update on; agent-steps are counted as training counts them."""
    from teacher.config import load_config

    config = load_config(Path(settings.config))
    bench = _Bench(config, settings.policy)
    return Workload(
        description=f"training updates of {settings.config}: {config.num_worlds} worlds x "
        f"{config.simulator.num_agents} agents x {config.ppo.rollout_steps} steps, then learning, "
        f"{bench.start}; only agents that still drive are counted",
        unit="agent_steps",
        device=f"{jax_device()}, {bench.mesh.size} devices" if bench.mesh.size > 1 else jax_device(),
        settings=asdict(settings),
        call=bench.update,
        facts=lambda _: bench.facts(),
    )


class _Bench:
    """A run in memory, and the parts of its update as programs of their own."""

    def __init__(self, config: Any, policy: str) -> None:
        from simulator.reset.spawn import check_capacity
        from simulator.roads.sources.map_cache import load_atlas
        from teacher.network.actor_critic import TeacherNetwork
        from teacher.policy import weights_from
        from teacher.ppo.environment import make_environment
        from teacher.ppo.multihost import spread
        from teacher.ppo.sharding import training_mesh, whole
        from teacher.ppo.update import init_state, make_update, with_weights

        self.config, self.mesh = config, training_mesh(config.num_shards)
        atlas = load_atlas(config.maps)
        check_capacity(atlas, config.simulator.num_agents)
        self.atlas = spread(atlas, whole(self.mesh))
        self.environment = make_environment(config)
        self.network = TeacherNetwork(config.network, self.environment.num_actions)
        self.state = init_state(
            self.environment, self.network, config.ppo, self.atlas, config.seed, self.mesh
        )
        self.start = "from new weights"
        if policy:
            given = weights_from(policy, self.state.params)
            self.state = with_weights(self.state, given, whole(self.mesh))
            self.start = f"from the weights of {policy}"
        self.compiled = make_update(
            self.environment, self.network, config.ppo, config.total_agent_steps, config.num_shards, self.mesh
        )
        self.spent_s: list[float] = []
        self.gathered = 0

    def update(self) -> int:
        """One update; returns the agent-steps it gathered."""
        import jax

        began = time.perf_counter()
        self.state, metrics = self.compiled(self.state, self.atlas)
        gathered = int(jax.block_until_ready(metrics["agent_steps"]))
        self.spent_s.append(time.perf_counter() - began)
        self.gathered += gathered
        return gathered

    def facts(self) -> dict[str, Any]:
        """Shares of an update's time by part, and how full the worlds are.

        Each part is timed as a program of its own, just before the update that does the same from the same worlds. An
        update takes as long as the number of worlds that it begins anew, so that only whole updates can be compared.
        """
        import jax

        from teacher.network.actor_critic import count_parameters

        slots = self.config.samples_per_update * len(self.spent_s)
        agents_driving = self.gathered / slots
        simulate, roll_out = self._program(self._simulate), self._program(self._roll_out)
        simulation_s = rollout_s = 0.0
        for _ in range(COMPARED):
            simulation_s += self._time(simulate)
            rollout_s += self._time(roll_out)
            self.update()
        update_s = sum(self.spent_s[-COMPARED:])
        return {
            "share_simulation": round(simulation_s / update_s, 3),
            "share_inference": round((rollout_s - simulation_s) / update_s, 3),
            "share_update": round(1.0 - rollout_s / update_s, 3),
            "agents_driving": round(agents_driving, 3),
            "parameters": count_parameters(jax.eval_shape(lambda: self.state.params)),
        }

    def _program(self, part: Callable[[Any, Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], Any]:
        """A part of the update, compiled."""
        import jax

        from teacher.ppo.sharding import deal
        from teacher.ppo.update import LAYOUT

        program = jax.jit(deal(part, LAYOUT, self.config.num_shards, self.mesh))
        jax.block_until_ready(program(self.state, self.atlas)[1])
        return program

    def _time(self, program: Callable[[Any, Any], Any]) -> float:
        """Seconds of a part of the update, from the worlds as they are."""
        import jax

        began = time.perf_counter()
        jax.block_until_ready(program(self.state, self.atlas)[1])
        return time.perf_counter() - began

    def _simulate(self, shards: Any, state: Any, atlas: Any) -> tuple[Any, Any]:
        """Resets, observations, steps and rewards, with random actions instead of a network."""
        import jax
        import jax.numpy as jnp

        from teacher.ppo.rollout import reset_finished

        environment = self.environment
        reset_key, drive_key = jax.random.split(state.key)
        worlds, _ = reset_finished(
            environment, atlas, state.worlds, state.update == 0, shards.own(reset_key), shards
        )

        def one(worlds: Any, key: Any) -> tuple[Any, Any]:
            observation = environment.observe(atlas, worlds)
            shape = observation.ego.shape[:2]
            transition = environment.step(
                atlas, worlds, jax.random.randint(key, shape, 0, environment.num_actions)
            )
            return transition.state, (observation, transition.reward)

        keys = jax.random.split(shards.own(drive_key), self.config.ppo.rollout_steps)
        _, made = jax.lax.scan(one, worlds, keys)
        used = [jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(made)]
        return state, shards.sum(sum(used))

    def _roll_out(self, shards: Any, state: Any, atlas: Any) -> tuple[Any, Any]:
        """Resets and a rollout, without learning from it."""
        import jax
        import jax.numpy as jnp

        from teacher.ppo.rollout import reset_finished, roll_out

        reset_key, drive_key = jax.random.split(state.key)
        worlds, _ = reset_finished(
            self.environment, atlas, state.worlds, state.update == 0, shards.own(reset_key), shards
        )
        ppo = self.config.ppo
        keep = not ppo.recompute_observations
        _, trajectories, _, _ = roll_out(
            self.environment, self.network, ppo.rollout_steps, atlas, state.params, worlds,
            shards.own(drive_key), keep,
        )  # fmt: skip
        used = [jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(trajectories)]
        return state, shards.sum(sum(used))
