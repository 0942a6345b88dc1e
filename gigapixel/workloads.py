"""What `gigapixel bench` measures: one workload per room, each with its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gigapixel.bench import Workload


@dataclass(frozen=True)
class SimulatorSettings:
    """Worlds stepped with random actions, nothing observed.

    Attributes:
        map: town of all worlds.
        worlds, agents: batch of worlds and agents in each.
        steps: steps per call; worlds start anew with every call, and resetting is not timed.
        seed: of the worlds and the actions.
        window_s: least length of a timed window.
    """

    map: str = "Town03"
    worlds: int = 128
    agents: int = 32
    steps: int = 50
    seed: int = 0
    window_s: float = 5.0


@dataclass(frozen=True)
class RendererSettings:
    """Pictures of all cameras of all agents in freshly spawned worlds.

    Attributes:
        map: town of all worlds.
        worlds, agents: batch of worlds and agents (boxes) in each; every placed agent is a viewer.
        width, height: picture size in pixels.
        backend: "auto", "reference", "numba" or "nvdiffrast".
        seed: of the worlds.
        window_s: least length of a timed window.
    """

    map: str = "Town03"
    worlds: int = 4
    agents: int = 32
    width: int = 96
    height: int = 54
    backend: str = "auto"
    seed: int = 0
    window_s: float = 5.0


@dataclass(frozen=True)
class TeacherSettings:
    """One whole training update per call: rollout, advantages, filter and gradient steps.

    Attributes:
        config: training configuration (YAML) whose update is measured.
        window_s: least length of a timed window.
    """

    config: str = "configs/teacher/cpu.yaml"
    window_s: float = 5.0


@dataclass(frozen=True)
class StudentSettings:
    """A student with random weights driving closed-loop: render, infer, step.

    Attributes:
        map: town of all worlds.
        worlds, agents: batch of worlds and agents in each; all of them have cameras and drive.
        decisions: decisions (0.5 s each) per call; worlds start anew with every call, and resetting is not timed.
        seed: of the worlds.
        window_s: least length of a timed window.
    """

    map: str = "Town03"
    worlds: int = 2
    agents: int = 16
    decisions: int = 4
    seed: int = 0
    window_s: float = 5.0


def jax_device() -> str:
    """Name of the device that JAX computes on."""
    import jax

    device = jax.devices()[0]
    return f"{device.platform}: {device.device_kind}" if device.platform != "cpu" else f"cpu: {cpu_name()}"


def cpu_name() -> str:
    """Model name of the processor, as Linux tells it."""
    import platform

    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def simulator_workload(settings: SimulatorSettings) -> Workload:
    """Every slot of every world counts, whether its agent still drives or not: its cost is the same."""
    import jax

    from simulator.config import SimulatorConfig
    from simulator.dynamics import ACTIONS
    from simulator.maps import load_atlas
    from simulator.rollout import reset_worlds, roll

    atlas = load_atlas([settings.map])
    config = SimulatorConfig(num_agents=settings.agents)
    reset_key, roll_key = jax.random.split(jax.random.key(settings.seed))
    start = jax.jit(reset_worlds, static_argnums=(2, 3))(reset_key, atlas, config, settings.worlds)

    def choose(state: Any, key: jax.Array) -> jax.Array:
        return jax.random.randint(key, state.yaw.shape, 0, len(ACTIONS))

    drive = jax.jit(lambda key, state, atlas: roll(key, state, choose, atlas, config, settings.steps)[0])
    return Workload(
        description=f"{settings.worlds} worlds x {settings.agents} agents x {settings.steps} steps of "
        f"{config.timestep_s} s in {settings.map}, random actions, all agent slots counted, no observations",
        unit="agent_steps",
        units_per_call=settings.worlds * settings.agents * settings.steps,
        device=jax_device(),
        settings=asdict(settings),
        call=lambda: jax.block_until_ready(drive(roll_key, start, atlas)),
    )


BUILDERS: dict[str, tuple[type, Callable[[Any], Workload]]] = {
    "simulator": (SimulatorSettings, simulator_workload),
}
