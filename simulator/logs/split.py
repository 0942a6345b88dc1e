"""The split of logged scenes into training and held-out scenes.

One scene in five is held out, by the SHA-256 of its name. The split therefore depends on nothing but the name: it is
the same for every pack of a data set, whatever its size and order, and needs no list. Scenes of one location may be
on both sides, since names do not tell locations (our choice).
"""

import hashlib

TRAIN, HELD_OUT, ALL = "train", "held_out", "all"
SPLITS = (ALL, TRAIN, HELD_OUT)
HELD_OUT_EVERY = 5


def is_held_out(name: str) -> bool:
    """Whether the scene of this name (`TrafficLog.name`) is held out."""
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
