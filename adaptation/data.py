"""Pairs for training, for early stopping and for the report, split by scene.

Whole scenes, named in the config, are held out for the report and used for nothing else. Early stopping uses the last
part of every training scene. Scenes whose boxes are not ground truth may be trained on but not held out.
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
from adaptation.pairs.paired_frames import MIN_CAMERA_COVERAGE, PairedFrames
from adaptation.surrogate import SurrogateConfig, scene_name, surrogate_pairs
from renderer.camera import CameraRig

log = logging.getLogger(__name__)

MIN_SCENE_FOR_VALIDATION = 5
"""Scenes with fewer samples are used for training entirely."""


class AdaptationData(lightning.LightningDataModule):
    """Batches of pairs.

    Args:
        source: `real` reads the camera log; `stand_in` renders synthetic scenes, with an appearance shift as the real
            side (see `adaptation.surrogate`).
        root: Folder of the real data; default: the environment variable GIGAPIXEL_DATA.
        rig: The student's cameras: `nuplan`, or a YAML file.
        height_px: Height of the student's images.
        width_px: Width of the student's images.
        held_out: Scenes (`dataset/seq`) that only `test` and `predict` use. Ignored for `stand_in`.
        train: Scenes to train on; default: all that are not held out.
        validation_share: Share of every training scene, its last samples, kept for early stopping.
        min_coverage: A camera is masked where no real image covers this share of its pixels.
        batch_size: Pairs per batch.
        pairs_per_epoch: Pairs drawn, with repetition, per epoch.
        scene_balance: 0 draws all samples equally often, 1 all scenes; values between interpolate.
        augment: Augmentation of training pairs.
        stand_in: Size of the surrogate domain.
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
        min_coverage: float = MIN_CAMERA_COVERAGE,
        batch_size: int = 16,
        pairs_per_epoch: int = 128,
        scene_balance: float = 0.5,
        augment: AugmentConfig = AugmentConfig(),  # noqa: B008  frozen
        stand_in: SurrogateConfig = SurrogateConfig(),  # noqa: B008
        backend: str = "auto",
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("pairs_per_epoch", pairs_per_epoch)):
            if value < 1:
                raise ValueError(f"data.{name}={value} must be at least 1")
        for name, share in (("validation_share", validation_share), ("scene_balance", scene_balance)):
            if not 0 <= share <= 1:
                raise ValueError(f"data.{name}={share} must lie in [0, 1]")
        on_both_sides = sorted(set(held_out) & set(train or ()))
        if on_both_sides:
            raise ValueError(
                f"data.held_out and data.train both name {on_both_sides[0]!r}; a scene is on one side only"
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
        self._loaded: CameraLog | None = None

    def use(self, training: Sequence[Pair], held_out: Sequence[Pair]) -> AdaptationData:
        """Use these pairs instead of making any; returns itself. Raises ValueError for a scene on both sides."""
        shared = {pair.scene for pair in training} & {pair.scene for pair in held_out}
        if shared:
            raise ValueError(f"the scene {sorted(shared)[0]!r} is both trained on and held out")
        self.training, self.validation = split_tails(training, self.validation_share)
        self.held_out = list(held_out)
        return self

    def setup(self, stage: str) -> None:
        """Make the pairs that the stage needs, once. Raises ValueError for scenes that cannot be used as configured."""
        if self.source == "stand_in":
            if self.training is None:
                pairs = surrogate_pairs(self.stand_in_config, self.rig, self.backend)
                held = {scene_name(i) for i in range(self.stand_in_config.held_out_scenes)}
                self.use([p for p in pairs if p.scene not in held], [p for p in pairs if p.scene in held])
        elif stage in ("fit", "validate") and self.training is None:
            camera_log = self._camera_log()
            self._check_scenes(camera_log, "train", self.train_scenes or [])
            self._check_held_out(camera_log)
            pairs = self._paired(camera_log, self._training_scenes(camera_log))
            self.training, self.validation = split_tails(pairs, self.validation_share)
            log.info("training on %d pairs, early stopping on %d", len(self.training), len(self.validation))
        elif stage in ("test", "predict") and self.held_out is None:
            camera_log = self._camera_log()
            self._check_held_out(camera_log)
            self.held_out = self._paired(camera_log, self.held_out_scenes)
        if stage == "validate" and not self.validation:
            raise ValueError(
                f"there is nothing to validate on: no training scene has {MIN_SCENE_FOR_VALIDATION} samples, or "
                f"data.validation_share={self.validation_share} keeps none"
            )

    def setup_training_where_present(self) -> bool:
        """`setup("fit")` where the training scenes are in the camera log; whether they are. A folder for tests may lack
        them."""
        if self.source == "real" and self.training is None:
            scenes = self._camera_log().scenes
            missing = [name for name in self.train_scenes or [] if name not in scenes]
            if missing or not set(scenes) - set(self.held_out_scenes):
                return False
        self.setup("fit")
        return True

    def _camera_log(self) -> CameraLog:
        """The camera log, read once."""
        if self._loaded is None:
            self._loaded = CameraLog.load(self.root)
        return self._loaded

    def _training_scenes(self, camera_log: CameraLog) -> list[str]:
        chosen = self.train_scenes or [s for s in camera_log.scenes if s not in self.held_out_scenes]
        if not chosen:
            raise ValueError(
                f"data.held_out names all scenes of {camera_log.root}, {camera_log.scenes}; none is left to train on"
            )
        return chosen

    def _paired(self, camera_log: CameraLog, scenes: Sequence[str]) -> list[Pair]:
        pairs = list(PairedFrames(camera_log, self.rig, scenes, self.min_coverage, self.backend))
        if not pairs:
            raise ValueError(
                f"no image of {', '.join(scenes)} covers {self.min_coverage:.0%} of a camera of the rig "
                f"({', '.join(self.rig.names)}); name other scenes, another data.rig or a lower data.min_coverage"
            )
        return pairs

    def _check_scenes(self, camera_log: CameraLog, name: str, scenes: Sequence[str]) -> None:
        for scene in scenes:
            if scene not in camera_log.scenes:
                raise ValueError(f"data.{name} names {scene!r}; the camera log has {camera_log.scenes}")

    def _check_held_out(self, camera_log: CameraLog) -> None:
        self._check_scenes(camera_log, "held_out", self.held_out_scenes)
        for sample in camera_log.samples_of_scenes(self.held_out_scenes):
            if sample.pseudo_labels:
                raise ValueError(
                    f"data.held_out names {sample.scene!r}, whose boxes are not ground truth; it may only train"
                )

    def train_dataloader(self) -> DataLoader[Pair]:
        """Batches of random training pairs, which depend on torch's global seed and the epoch."""
        assert self.training is not None, "setup('fit') comes first"
        weights = scene_weights([pair.scene for pair in self.training], self.scene_balance)
        sampler = SceneSampler(weights, self.pairs_per_epoch, torch.initial_seed())
        return self._loader(self.training, sampler)

    def training_in_order(self) -> DataLoader[Pair]:
        """Batches of all training pairs, each once, in order."""
        assert self.training is not None, "setup('fit') comes first"
        return self._loader(self.training)

    def val_dataloader(self) -> DataLoader[Pair]:
        """Batches of the last samples of the training scenes, in order."""
        assert self.validation is not None, "setup('fit') comes first"
        return self._loader(self.validation)

    def test_dataloader(self) -> DataLoader[Pair]:
        """Batches of the held-out scenes, in order."""
        assert self.held_out is not None, "setup('test') comes first"
        return self._loader(self.held_out)

    predict_dataloader = test_dataloader

    def _loader(self, pairs: Sequence[Pair], sampler: Sampler[int] | None = None) -> DataLoader[Pair]:
        """Batches of pairs. Has a generator of its own, because a new iteration would otherwise advance the global one,
        and the augmentation of a resumed run would differ."""
        return DataLoader(
            pairs,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=collate,
            generator=torch.Generator(),
        )

    def on_after_batch_transfer(self, batch: PairBatch, dataloader_idx: int) -> PairBatch:
        """Augment training pairs, on their device."""
        if self.trainer is None or not self.trainer.training:
            return batch
        real, rendering = augment_pair(batch.real, batch.rendering, self.rig.names, self.augment_config)
        return PairBatch(batch.names, batch.scenes, real, rendering)


class SceneSampler(Sampler[int]):
    """Draws `count` indices per epoch with replacement, by weight. The draw depends on seed and epoch only, so that a
    resumed run continues exactly; Lightning calls `set_epoch`.
    """

    def __init__(self, weights: Sequence[float], count: int, seed: int) -> None:
        self.weights = torch.tensor(weights, dtype=torch.float64)
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose indices are drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        yield from torch.multinomial(self.weights, self.count, replacement=True, generator=generator).tolist()


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of one epoch of a run."""
    return (seed * 1_000_003 + epoch) % 2**63


def split_tails(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """(training, validation): the last `share` of every scene with MIN_SCENE_FOR_VALIDATION samples is validation."""
    training: list[Pair] = []
    validation: list[Pair] = []
    for scene in dict.fromkeys(pair.scene for pair in pairs):
        own = [pair for pair in pairs if pair.scene == scene]
        kept = math.ceil(share * len(own)) if len(own) >= MIN_SCENE_FOR_VALIDATION else 0
        training += own[: len(own) - kept]
        validation += own[len(own) - kept :]
    return training, validation


def scene_weights(scenes: Sequence[str], balance: float) -> list[float]:
    """Sampling weight per sample: 1 / (samples of its scene) ** balance."""
    return [1.0 / scenes.count(scene) ** balance for scene in scenes]
