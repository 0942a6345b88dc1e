"""Published weights of timm's models: are they on this machine, or can they be fetched? Loads no framework."""

from __future__ import annotations

import os
import threading
from pathlib import Path

HUB_TIMEOUT_S = 2.0
"""How long the server of the weights is waited for; the hub's own client retries for minutes."""


def refuse_unreachable_weights(name: str) -> None:
    """Raise OSError where the weights of timm's model `name` are neither on this machine nor does their server answer
    within HUB_TIMEOUT_S."""
    from huggingface_hub import constants

    if _is_cached(name, Path(constants.HF_HUB_CACHE)):
        return
    if constants.HF_HUB_OFFLINE:
        raise OSError(unfetched_message(name, "they are not in its cache, and HF_HUB_OFFLINE is set"))
    if not _answers(constants.ENDPOINT):
        raise OSError(
            unfetched_message(name, f"they are not in the cache, and {constants.ENDPOINT} does not answer")
        )


def unfetched_message(name: str, reason: str) -> str:
    """Why weights cannot be had, and what to do, in one sentence."""
    return (
        f"encoder.pretrained: the weights of {name!r} cannot be fetched ({reason}); connect to the network once, or "
        "set pretrained to false"
    )


def _is_cached(name: str, hub_cache: Path) -> bool:
    """Whether the hub's cache has files of the model, under any tag, or torch's cache has any: it keeps the few weights
    that are not on the hub, under names that only timm knows."""
    repositories = [hub_cache / f"models--timm--{name}", *hub_cache.glob(f"models--timm--{name}.*")]
    if any(any(repository.glob("snapshots/*/*")) for repository in repositories):
        return True
    torch_home = (
        os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    )
    return any(Path(torch_home).expanduser().glob("hub/checkpoints/*.*"))


def _answers(address: str) -> bool:
    """Whether a server answers in time. In a thread of its own, because no timeout ends the look-up of a host."""
    from huggingface_hub.utils import get_session

    answered = threading.Event()

    def ask() -> None:
        try:
            get_session().head(address, timeout=HUB_TIMEOUT_S)
        except Exception:  # whatever the client raises, there is no answer
            return
        answered.set()

    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(HUB_TIMEOUT_S)
