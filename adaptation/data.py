"""Pairs for training, for early stopping and for the report, split by scene.

Held-out scenes are whole scenes, named in the config; nothing of them is seen in fitting. Early stopping looks at the
last part of every training scene only, so it never looks at what is reported. Scenes whose boxes are not ground truth
may train but are never held out.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import lightning
import torch
from torch.utils.data import DataLoader, Sampler

from adaptation.augment import AugmentConfig, augment_pair
from adaptation.frames.camera_log import CameraLog
from adaptation.pairs.pair import Pair, PairBatch, collate
from adaptation.pairs.paired_frames import MIN_COVERAGE, PairedFrames
from adaptation.stand_in import StandInConfig, scene_name, stand_in_pairs
from renderer.camera import CameraRig

log = logging.getLogger(__name__)

MIN_SCENE_FOR_VALIDATION = 5
"""Scenes with fewer moments give all of them to training."""


class AdaptationData(lightning.LightningDataModule):
    """Batches of pairs.

    Args:
        source: `real` reads the camera log; `stand_in` draws made-up moments under a shifted look.
        root: Folder of the real data; default: the environment variable GIGAPIXEL_DATA.
        rig: `nuplan`, or a YAML file of cameras; the student's.
        height_px: Height of the student's pictures.
        width_px: Width of the student's pictures.
        held_out: Scenes (`dataset/seq`) that only `test` and `predict` see. Ignored for the stand-in.
        train: Scenes to train on; default: all that are not held out.
        validation_share: Share of every training scene, its last moments, kept for early stopping.
        min_coverage: A camera of which no real picture sees this share is masked.
        batch_size: Pairs per batch.
        pairs_per_epoch: Pairs drawn, with repetition, per epoch.
        scene_balance: 0 draws every moment, 1 every scene, equally often; in between in between.
        augment: Variation of training pairs.
        stand_in: The stand-in's moments.
        backend: Renderer backend.
    """

    def __init__(
        self,
        source: Literal["real", "stand_in"] = "real",
        root: str | None = None,
        rig: str = "nuplan",
        height_px: int = 54,
        width_px: int = 96,
        held_out: Sequence[str] = (),
        train: Sequence[str] | None = None,
        validation_share: float = 0.2,
        min_coverage: float = MIN_COVERAGE,
        batch_size: int = 16,
        pairs_per_epoch: int = 128,
        scene_balance: float = 0.5,
        augment: AugmentConfig = AugmentConfig(),  # noqa: B008  frozen
        stand_in: StandInConfig = StandInConfig(),  # noqa: B008
        backend: str = "auto",
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("pairs_per_epoch", pairs_per_epoch)):
            if value < 1:
                raise ValueError(f"data.{name}={value} must be at least 1")
        for name, share in (("validation_share", validation_share), ("scene_balance", scene_balance)):
            if not 0 <= share <= 1:
                raise ValueError(f"data.{name}={share} must lie in [0, 1]")
        both = sorted(set(held_out) & set(train or ()))
        if both:
            raise ValueError(
                f"data.held_out and data.train both name {both[0]!r}; a scene is on one side only"
            )
        if source == "real" and not held_out:
            raise ValueError("data.held_out is empty; name the scenes (dataset/seq) to report on")
        self.source, self.root, self.backend = source, root, backend
        self.rig = CameraRig.nuplan(height_px, width_px) if rig == "nuplan" else CameraRig.from_yaml(rig)
        if (self.rig.height, self.rig.width) != (height_px, width_px):
            self.rig = self.rig.resized(height_px, width_px)
        self.held_out_scenes, self.train_scenes = list(held_out), None if train is None else list(train)
        self.validation_share, self.min_coverage = validation_share, min_coverage
        self.batch_size, self.pairs_per_epoch, self.scene_balance = batch_size, pairs_per_epoch, scene_balance
        self.augment_config, self.stand_in_config = augment, stand_in
        self.training: list[Pair] | None = None
        self.validation: list[Pair] | None = None
        self.held_out: list[Pair] | None = None

    def use(self, training: Sequence[Pair], held_out: Sequence[Pair]) -> AdaptationData:
        """Take these pairs instead of making any; a scene may be on one side only."""
        shared = {pair.scene for pair in training} & {pair.scene for pair in held_out}
        if shared:
            raise ValueError(f"the scene {sorted(shared)[0]!r} is both trained on and held out")
        self.training, self.validation = split_tails(training, self.validation_share)
        self.held_out = list(held_out)
        return self

    def setup(self, stage: str) -> None:
        """Make the pairs that the stage needs, once."""
        if self.source == "stand_in":
            if self.training is None:
                pairs = stand_in_pairs(self.stand_in_config, self.rig, self.backend)
                held = {scene_name(i) for i in range(self.stand_in_config.held_out_scenes)}
                self.use([p for p in pairs if p.scene not in held], [p for p in pairs if p.scene in held])
        elif stage in ("fit", "validate") and self.training is None:
            camera_log = CameraLog.load(self.root)
            self._check_scenes(camera_log)
            chosen = self.train_scenes or [s for s in camera_log.scenes if s not in self.held_out_scenes]
            self.training, self.validation = split_tails(
                list(self._paired(camera_log, chosen)), self.validation_share
            )
            log.info("training on %d pairs, early stopping on %d", len(self.training), len(self.validation))
        elif stage in ("test", "predict") and self.held_out is None:
            camera_log = CameraLog.load(self.root)
            self._check_scenes(camera_log)
            self.held_out = list(self._paired(camera_log, self.held_out_scenes))

    def _paired(self, camera_log: CameraLog, scenes: Sequence[str]) -> PairedFrames:
        return PairedFrames(camera_log, self.rig, scenes, self.min_coverage, self.backend)

    def _check_scenes(self, camera_log: CameraLog) -> None:
        for name, scenes in (("held_out", self.held_out_scenes), ("train", self.train_scenes or [])):
            for scene in scenes:
                if scene not in camera_log.scenes:
                    raise ValueError(f"data.{name} names {scene!r}; the camera log has {camera_log.scenes}")
        for moment in camera_log.of_scenes(self.held_out_scenes):
            if moment.pseudo_labels:
                raise ValueError(
                    f"data.held_out names {moment.scene!r}, whose boxes are not ground truth; it may only train"
                )

    def train_dataloader(self) -> DataLoader[Pair]:
        """Pairs drawn at random; drawing follows torch's global seed and the epoch."""
        assert self.training is not None, "setup('fit') comes first"
        weights = scene_weights([pair.scene for pair in self.training], self.scene_balance)
        sampler = SceneSampler(weights, self.pairs_per_epoch, torch.initial_seed())
        return self._loader(self.training, sampler)

    def training_in_order(self) -> DataLoader[Pair]:
        """The training pairs, each once, in order."""
        assert self.training is not None, "setup('fit') comes first"
        return self._loader(self.training)

    def val_dataloader(self) -> DataLoader[Pair]:
        """The last moments of the training scenes, in order."""
        assert self.validation is not None, "setup('fit') comes first"
        return self._loader(self.validation)

    def test_dataloader(self) -> DataLoader[Pair]:
        """The held-out scenes, in order."""
        assert self.held_out is not None, "setup('test') comes first"
        return self._loader(self.held_out)

    predict_dataloader = test_dataloader

    def _loader(self, pairs: Sequence[Pair], sampler: Sampler[int] | None = None) -> DataLoader[Pair]:
        """Batches of pairs. Its own generator keeps a new iteration from drawing out of the global one, which a
        resumed run would notice in its augmentation."""
        return DataLoader(
            pairs,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=collate,
            generator=torch.Generator(),
        )

    def on_after_batch_transfer(self, batch: PairBatch, dataloader_idx: int) -> PairBatch:
        """Vary training pairs, on the device they are on."""
        if self.trainer is None or not self.trainer.training:
            return batch
        real, rendering = augment_pair(batch.real, batch.rendering, self.rig.names, self.augment_config)
        return PairBatch(batch.names, batch.scenes, real, rendering)


class SceneSampler(Sampler[int]):
    """Draws indices with repetition by weight. What an epoch draws depends on seed and epoch only, so that a run
    that goes on after a stop draws what it would have drawn; Lightning calls `set_epoch`.
    """

    def __init__(self, weights: Sequence[float], count: int, seed: int) -> None:
        self.weights = torch.tensor(weights, dtype=torch.float64)
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        yield from torch.multinomial(self.weights, self.count, replacement=True, generator=generator).tolist()


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed for one epoch of a run."""
    return (seed * 1_000_003 + epoch) % 2**63


def split_tails(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """(training, validation): the last `share` of every scene with enough moments is kept for validation."""
    training: list[Pair] = []
    validation: list[Pair] = []
    for scene in dict.fromkeys(pair.scene for pair in pairs):
        own = [pair for pair in pairs if pair.scene == scene]
        kept = math.ceil(share * len(own)) if len(own) >= MIN_SCENE_FOR_VALIDATION else 0
        training += own[: len(own) - kept]
        validation += own[len(own) - kept :]
    return training, validation


def scene_weights(scenes: Sequence[str], balance: float) -> list[float]:
    """Sampling weight per moment: 1 / (moments of its scene) ** balance."""
    return [1.0 / scenes.count(scene) ** balance for scene in scenes]
