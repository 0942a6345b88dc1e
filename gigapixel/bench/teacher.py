"""What `gigapixel bench teacher` measures: complete training updates, and how their time is spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gigapixel.bench.device_info import jax_device
from gigapixel.bench.harness import Workload

PROFILED_UPDATES = 16
"""Number of updates whose time is divided into parts. Worlds that were reset together also end together, so that only
several updates together are an average over episodes."""


@dataclass(frozen=True)
class TeacherSettings:
    """One complete training update per call: resets, rollout, advantages, filter and gradient steps.

    Attributes:
        config: training configuration (YAML) whose update is measured.
        policy: policy that the measured training starts from. Empty: random weights; their agents crash early, so that
            fewer of them are counted.
        window_s: minimum length of a timed window.
    """

    config: str = "configs/teacher/cpu.yaml"
    policy: str = ""
    window_s: float = 5.0


def teacher_workload(settings: TeacherSettings) -> Workload:
    """Training from the first update on; agent-steps are those that the training itself counts."""
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
        extra_metrics=lambda _: bench.extra_metrics(),
    )


class _Bench:
    """A training run in memory, and the parts of its update as separate compiled programs."""

    def __init__(self, config: Any, policy: str) -> None:
        from simulator.atlas.load import load_atlas
        from simulator.reset.placement import check_capacity
        from teacher.network.actor_critic import TeacherNetwork
        from teacher.policy import weights_from
        from teacher.ppo.environment import make_environment
        from teacher.ppo.multihost import distribute
        from teacher.ppo.sharding import replicated, training_mesh
        from teacher.ppo.update import init_state, make_update, with_weights

        self.config, self.mesh = config, training_mesh(config.num_shards)
        atlas = load_atlas(config.maps)
        check_capacity(atlas, config.simulator.num_agents)
        self.atlas = distribute(atlas, replicated(self.mesh))
        self.environment = make_environment(config)
        self.network = TeacherNetwork(config.network, self.environment.num_actions)
        self.state = init_state(
            self.environment, self.network, config.ppo, self.atlas, config.seed, self.mesh
        )
        self.start = "from new weights"
        if policy:
            given = weights_from(policy, self.state.params)
            self.state = with_weights(self.state, given, replicated(self.mesh))
            self.start = f"from the weights of {policy}"
        self.compiled = make_update(
            self.environment, self.network, config.ppo, config.total_agent_steps, config.num_shards, self.mesh
        )
        self.spent_s: list[float] = []
        self.gathered = 0

    def update(self) -> int:
        """One update; returns the number of agent-steps it collected."""
        import jax

        began = time.perf_counter()
        self.state, metrics = self.compiled(self.state, self.atlas)
        gathered = int(jax.block_until_ready(metrics["agent_steps"]))
        self.spent_s.append(time.perf_counter() - began)
        self.gathered += gathered
        return gathered

    def extra_metrics(self) -> dict[str, Any]:
        """Shares of the time of an update by part, the share of driving agents, and the number of parameters.

        Each part is timed as a separate program, just before the update that does the same from the same worlds. The
        time of an update depends on the number of worlds that it resets, so that only complete updates are compared.
        """
        import jax

        from teacher.network.actor_critic import count_parameters

        slots = self.config.samples_per_update * len(self.spent_s)
        agents_driving = self.gathered / slots
        simulate, collect = self._program(self._simulate), self._program(self._collect)
        simulation_s = rollout_s = 0.0
        for _ in range(PROFILED_UPDATES):
            simulation_s += self._time(simulate)
            rollout_s += self._time(collect)
            self.update()
        update_s = sum(self.spent_s[-PROFILED_UPDATES:])
        return {
            "share_simulation": round(simulation_s / update_s, 3),
            "share_inference": round((rollout_s - simulation_s) / update_s, 3),
            "share_update": round(1.0 - rollout_s / update_s, 3),
            "agents_driving": round(agents_driving, 3),
            "parameters": count_parameters(jax.eval_shape(lambda: self.state.params)),
        }

    def _program(self, part: Callable[[Any, Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], Any]:
        """Compile a part of the update."""
        import jax

        from teacher.ppo.sharding import shard
        from teacher.ppo.update import LAYOUT

        program = jax.jit(shard(part, LAYOUT, self.config.num_shards, self.mesh))
        jax.block_until_ready(program(self.state, self.atlas)[1])
        return program

    def _time(self, program: Callable[[Any, Any], Any]) -> float:
        """Seconds of a part of the update, from the current worlds."""
        import jax

        began = time.perf_counter()
        jax.block_until_ready(program(self.state, self.atlas)[1])
        return time.perf_counter() - began

    def _simulate(self, shards: Any, state: Any, atlas: Any) -> tuple[Any, Any]:
        """Resets, observations, steps and rewards, with random actions in place of the policy."""
        import jax
        import jax.numpy as jnp

        from simulator.rollout import rollout
        from teacher.ppo.rollout import reset_finished

        environment = self.environment
        reset_key, drive_key = jax.random.split(state.key)
        worlds, _ = reset_finished(
            environment, atlas, state.worlds, state.update == 0, shards.own(reset_key), shards
        )

        def policy_fn(worlds: Any, key: Any) -> tuple[Any, Any]:
            observation = environment.observe(atlas, worlds)
            shape = observation.ego.shape[:2]
            return jax.random.randint(key, shape, 0, environment.num_actions), observation

        def step_fn(worlds: Any, chosen: tuple[Any, Any]) -> tuple[Any, Any]:
            transition = environment.step(atlas, worlds, chosen[0])
            return transition.state, transition.reward

        keys = jax.random.split(shards.own(drive_key), self.config.ppo.rollout_steps)
        _, made = rollout(policy_fn, step_fn, worlds, keys, lambda step: (step.action[1], step.outcome))
        used = [jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(made)]
        return state, shards.sum(sum(used))

    def _collect(self, shards: Any, state: Any, atlas: Any) -> tuple[Any, Any]:
        """Resets and a rollout, without the gradient steps."""
        import jax
        import jax.numpy as jnp

        from teacher.ppo.rollout import collect_rollout, reset_finished

        reset_key, drive_key = jax.random.split(state.key)
        worlds, _ = reset_finished(
            self.environment, atlas, state.worlds, state.update == 0, shards.own(reset_key), shards
        )
        ppo = self.config.ppo
        keep = not ppo.recompute_observations
        _, trajectories, _, _ = collect_rollout(
            self.environment, self.network, ppo.rollout_steps, atlas, state.params, worlds,
            shards.own(drive_key), keep,
        )  # fmt: skip
        used = [jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(trajectories)]
        return state, shards.sum(sum(used))
