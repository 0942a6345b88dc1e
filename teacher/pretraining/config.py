"""Configuration of behaviour cloning from recorded traffic; see `pretrain.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainConfig:
    """Behaviour cloning of recorded drivers before the first PPO update of a run.

    Attributes:
        packs: paths of scene packs; without any there is no pre-training.
        epochs: passes over the training scenes' samples ("Scaling Is All You Need": 20, of 600 hours and more; a few
            minutes of traffic are overfitted within twelve).
        minibatch_size: samples per gradient step; all samples, if there are fewer.
        learning_rate: of AdamW, with cosine decay to zero (the paper's 2e-3).
        weight_decay: of AdamW, on kernels only; strong, because there is little data.
        max_grad_norm: global norm to which gradients are clipped.
        value_weight: weight of the value's squared error relative to the action's cross-entropy.
        num_agents: agent slots per scene; where there are more road users, the ego, moving and near ones are kept.
        worlds_per_scene: worlds made of each scene. They differ in the agents' traits, which change the returns and
            not the actions; with a single world the critic overfits to the traits.
    """

    packs: tuple[str, ...] = ()
    epochs: int = 6
    minibatch_size: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1.0
    max_grad_norm: float = 1.0
    value_weight: float = 0.5
    num_agents: int = 64
    worlds_per_scene: int = 4

    def __post_init__(self) -> None:
        if isinstance(self.packs, str) or not all(isinstance(path, str) and path for path in self.packs):
            raise ValueError(f"pretrain.packs={self.packs!r} must be a list of paths, such as [womd.h5]")
        for name in ("epochs", "minibatch_size", "num_agents", "worlds_per_scene"):
            if getattr(self, name) < 1:
                raise ValueError(f"pretrain.{name}={getattr(self, name)} must be at least 1")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"pretrain.{name}={getattr(self, name)} must be above 0")
        for name in ("weight_decay", "value_weight"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"pretrain.{name}={getattr(self, name)} must be 0 or above")
