"""Names of the devices that a benchmark runs on."""

from __future__ import annotations


def jax_device() -> str:
    """Name of the first device of JAX, for example "cpu: AMD EPYC 7B13"."""
    import jax

    device = jax.devices()[0]
    return f"{device.platform}: {device.device_kind}" if device.platform != "cpu" else f"cpu: {cpu_name()}"


def cpu_name() -> str:
    """Model name of the processor, from /proc/cpuinfo where there is one."""
    import platform

    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def torch_device(device: str) -> str:
    """Name of a torch device, "cuda" or "cpu"."""
    import torch

    return f"cuda: {torch.cuda.get_device_name()}" if device == "cuda" else f"cpu: {cpu_name()}"
