"""What `gigapixel bench simulator` measures: worlds with random actions: step, reward, observation and reset.

Only agents that are driving are counted, not crashed ones or empty slots. Three variants show how the time is spent:
the dynamics alone, the complete step with its reward, and the step with reward and observations (the main result).
Observations are carried from step to step, so that they are written to memory and cannot be optimised away.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from gigapixel.bench.device_info import jax_device
from gigapixel.bench.harness import Workload
from simulator.cores import core_count

BENCH_STAGES = ("dynamics", "step_reward", "observation")


@dataclass(frozen=True)
class SimulatorSettings:
    """Worlds in several towns, with all stages of a step.

    Attributes:
        maps: towns, separated by commas; each episode draws one of them.
        worlds, agents: number of worlds and of agents in each.
        observation: `compact`, `lean` (GIGAFLOW's sets) or `full` (63 partners, 200 road elements).
        chunk: worlds stepped at a time. 0 means 4 on a CPU (fewer where 4 does not divide them), so that the data of a
            step stays in the cache of a core, and all worlds elsewhere.
        steps: steps per round; worlds whose episode has ended or that are jammed are reset before each round. With
            random actions 40 % of the agents have crashed after about 30 steps, so rounds are short.
        rounds: rounds per call. Devices are synchronised only at the end of a call.
        timestep_s: length of a step.
        cpu_devices: number of XLA devices that a CPU is split into, each with its own thread.
        seed: seed of the worlds and the actions.
        window_s: minimum length of a timed window.
    """

    maps: str = "Town01,Town02,Town03,Town04,Town05"
    worlds: int = 64
    agents: int = 45
    observation: str = "lean"
    chunk: int = 0
    steps: int = 8
    rounds: int = 4
    timestep_s: float = 0.1
    cpu_devices: int = field(default_factory=core_count)
    seed: int = 0
    window_s: float = 5.0


def simulator_workload(settings: SimulatorSettings) -> Workload:
    """The main call with its variants. Raises ValueError where the worlds cannot be divided among the devices."""
    if "jax" not in sys.modules:  # the number of devices is read once, when JAX loads
        flag = f"--xla_force_host_platform_device_count={settings.cpu_devices}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    import jax

    from teacher.observation.observe import OBSERVATIONS

    if settings.observation not in OBSERVATIONS:
        raise ValueError(
            f"observation={settings.observation!r} is unknown; expected {', '.join(OBSERVATIONS)}"
        )
    devices = len(jax.local_devices())
    if settings.worlds % devices:
        raise ValueError(f"worlds={settings.worlds} must be a multiple of the {devices} devices")
    bench = _Bench(settings, devices)
    return Workload(
        description=f"{settings.worlds} worlds x {settings.agents} agents x {settings.rounds} x "
        f"{settings.steps} steps of {settings.timestep_s} s in {settings.maps}, random actions: step, reward, "
        f"{settings.observation} observation of {bench.floats} numbers, resets; only agents that drive are counted",
        unit="agent_steps",
        device=f"{jax_device()}, {devices} devices" if devices > 1 else jax_device(),
        settings=asdict(settings),
        call=bench.calls["observation"],
        variants={name: bench.calls[name] for name in BENCH_STAGES[:-1]},
        extra_metrics=lambda _: bench.extra_metrics(),
    )


class _Bench:
    """Worlds on every device, and one compiled program per variant."""

    def __init__(self, settings: SimulatorSettings, devices: int) -> None:
        import jax
        import jax.numpy as jnp

        from simulator.atlas.load import load_atlas
        from simulator.config import SimulatorConfig
        from simulator.reset.placement import check_capacity
        from teacher.config import TeacherConfig
        from teacher.observation.observe import OBSERVATIONS, example_observation
        from teacher.ppo.environment import make_environment
        from teacher.ppo.losses import PPOConfig

        self.settings = settings
        self.atlas = load_atlas(settings.maps.split(","))
        check_capacity(self.atlas, settings.agents)
        per_device = settings.worlds // devices
        default_chunk = math.gcd(4, per_device) if jax.default_backend() == "cpu" else per_device
        self.chunk = settings.chunk or default_chunk
        if per_device % self.chunk:
            raise ValueError(f"chunk={self.chunk} must divide the {per_device} worlds of each device")
        self.config = TeacherConfig(
            maps=tuple(settings.maps.split(",")),
            num_worlds=per_device,
            reset_chunk=max(1, per_device // 8),
            simulator=SimulatorConfig(timestep_s=settings.timestep_s, num_agents=settings.agents),
            observation=OBSERVATIONS[settings.observation],
            ppo=PPOConfig(minibatch_size=1),  # unused: nothing is trained
        )
        self.environment = make_environment(self.config)
        self.floats = sum(leaf.size for leaf in jax.tree.leaves(example_observation(self.config.observation))
                          if leaf.dtype == jnp.float32)  # fmt: skip
        self.mesh = jax.make_mesh((devices,), ("worlds",), axis_types=(jax.sharding.AxisType.Auto,))
        # Replicated once: an atlas on one device would be copied to the others in every call.
        self.atlas = jax.device_put(self.atlas, jax.NamedSharding(self.mesh, jax.sharding.PartitionSpec()))
        self.key = jax.random.key(settings.seed)
        keys = jax.random.split(self.key, settings.worlds)
        self.worlds = jax.jit(self._on_worlds(self.environment.reset))(self.atlas, keys)
        self.calls = {name: self._call(name) for name in BENCH_STAGES}

    def _on_worlds(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of (atlas, arrays with a leading worlds axis ...), sharded over the devices."""
        import jax
        from jax.sharding import PartitionSpec as Spec

        def sharded(atlas: Any, *worlds: Any) -> Any:
            specs = (Spec(), *(Spec("worlds") for _ in worlds))
            mapped = jax.shard_map(
                function, mesh=self.mesh, in_specs=specs, out_specs=Spec("worlds"), check_vma=False
            )
            return mapped(atlas, *worlds)

        return sharded

    def _call(self, variant: str) -> Callable[[], int]:
        import jax

        work = self._on_worlds(lambda atlas, worlds, keys: self._work(variant, atlas, worlds, keys[0]))
        compiled = jax.jit(work, donate_argnums=1)  # the buffers of the worlds are reused

        def call() -> int:
            self.key, key = jax.random.split(self.key)
            worked = compiled(self.atlas, self.worlds, jax.random.split(key, self.mesh.size))
            self.worlds, taken, *_ = jax.block_until_ready(worked)
            return int(taken.sum())

        return call

    def _work(self, variant: str, atlas: Any, worlds: Any, key: Any) -> tuple[Any, ...]:
        """`rounds` rounds on one device: reset worlds that have ended or are jammed, then drive."""
        import jax
        import jax.numpy as jnp

        from teacher.ppo.rollout import reset_finished

        def one(worlds: Any, key: Any) -> tuple[Any, Any]:
            reset_key, drive_key = jax.random.split(key)
            blank = jnp.zeros((), bool)
            worlds, _ = reset_finished(self.environment, atlas, worlds, blank, reset_key)
            worlds, *rest = self._drive(variant, atlas, worlds, drive_key)
            return worlds, rest

        worlds, rest = jax.lax.scan(one, worlds, jax.random.split(key, self.settings.rounds))
        return worlds, *jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), rest)  # [worlds, rounds, ...]

    def _drive(self, variant: str, atlas: Any, worlds: Any, key: Any) -> Any:
        """`steps` steps of all worlds, chunk by chunk; see `_drive_chunk`."""
        import jax

        parts = jax.tree.map(lambda leaf: leaf.reshape(-1, self.chunk, *leaf.shape[1:]), worlds)
        keys = jax.random.split(key, len(parts.step))
        driven = jax.lax.map(lambda part: self._drive_chunk(variant, atlas, *part), (parts, keys))
        moved, *rest = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), driven)
        return worlds.replace(**moved), *rest

    def _drive_chunk(self, variant: str, atlas: Any, worlds: Any, key: Any) -> tuple[Any, ...]:
        """`steps` steps with random actions.

        Returns the fields of the worlds except their scenarios, which do not change, the agent-steps of each world, the
        sums of rewards, and the sum of the last observation: without a use, writing it could be optimised away.
        """
        import jax
        import jax.numpy as jnp

        from simulator.rollout import rollout
        from simulator.step import move

        environment, config = self.environment, self.config.simulator

        def step_fn(carry: tuple[Any, ...], action: Any) -> tuple[tuple[Any, ...], None]:
            worlds, taken, total, seen = carry
            taken = taken + worlds.active.sum(axis=1)
            if variant == "dynamics":
                return (jax.vmap(move, (0, 0, None))(worlds, action, config), taken, total, seen), None
            transition = environment.step(atlas, worlds, action)
            total = total + transition.reward
            if variant == "observation":
                seen = environment.observe(atlas, transition.state)
            return (transition.state, taken, total, seen), None

        shapes = jax.eval_shape(environment.observe, atlas, worlds) if variant == "observation" else None
        seen = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        start = (worlds, jnp.zeros(self.chunk, jnp.int32), jnp.zeros(worlds.yaw.shape), seen)
        shape = (self.settings.steps, *worlds.yaw.shape)
        actions = jax.random.randint(key, shape, 0, environment.num_actions)
        (worlds, taken, total, seen), _ = rollout(lambda carry, action: action, step_fn, start, actions)
        names = [entry.name for entry in fields(worlds) if entry.name != "scenario"]
        used = sum((leaf.sum(dtype=jnp.float32) for leaf in jax.tree.leaves(seen)), jnp.zeros(()))
        return {name: getattr(worlds, name) for name in names}, taken, total, jnp.full(self.chunk, used)

    def extra_metrics(self) -> dict[str, Any]:
        """Share of driving agents, and shares of filled observation slots over them, in the current worlds."""
        import jax

        observation = jax.jit(self._on_worlds(self.environment.observe))(self.atlas, self.worlds)
        driving = jax.device_get(self.worlds.active)
        shares = {"agents_driving": float(driving.mean())}
        for name in ("others", "lanes", "edges", "stops"):
            mask = jax.device_get(getattr(observation, f"{name}_mask"))
            shares[f"{name}_filled"] = float(mask[driving].mean())
        return {name: round(share, 3) for name, share in shares.items()}
