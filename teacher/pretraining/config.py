"""What pre-training from recorded traffic is made of; `pretrain.py` says what it does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainConfig:
    """Imitation of recorded drivers before the first update of a run.

    Attributes:
        packs: paths of scene packs; none of them turns pre-training off.
        epochs: passes over the training scenes' samples ("Scaling Is All You Need": 20, of 600 hours and more; a few
            minutes of traffic are learnt by heart within twelve).
        minibatch_size: samples per gradient step; all there are, where they are fewer.
        learning_rate: AdamW's, falling to zero as a cosine (the paper's 2e-3).
        weight_decay: AdamW's decoupled decay, on kernels only; strong, because logs are few.
        max_grad_norm: global norm to which a gradient is shortened.
        value_weight: weight of the squared error of the value beside the cross-entropy of the action.
        num_agents: room for road users per scene; where there are more, the recording car, moving ones and near ones
            come first.
        worlds_per_scene: worlds made of each scene. They differ in their drivers' traits, which decide what a drive is
            worth, not how it was driven; from one world the critic learns traits by heart.
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
