"""Which recorded scenes are for training and which are held out to judge what was trained.

A scene's name alone decides: one scene in five is held out, by the SHA-256 of the name. So every pack of the same data
set, however large and in whatever order, agrees on the split, no list has to travel, and nobody chooses it. Scenes of
one place may fall on both sides, since names say nothing about places (our choice).
"""

import hashlib

TRAIN, HELD_OUT, ALL = "train", "held_out", "all"
SPLITS = (ALL, TRAIN, HELD_OUT)
HELD_OUT_EVERY = 5


def is_held_out(name: str) -> bool:
    """Whether the scene of this name (`TrafficLog.name`) is kept from training."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT_EVERY == 0


def check_split(split: str) -> str:
    """``split`` itself. Raises ValueError for an unknown one."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; expected one of {', '.join(SPLITS)}")
    return split


def in_split(name: str, split: str) -> bool:
    """Whether the scene of this name belongs to ``split``, one of SPLITS."""
    return check_split(split) == ALL or is_held_out(name) == (split == HELD_OUT)
