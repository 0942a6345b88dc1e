"""Names of towns that are made from a number; `simulator.roads.sources.procedural_town` makes them."""

from __future__ import annotations

import hashlib

PROCEDURAL_VERSION = 1
"""Of the recipe: another one makes other towns."""
PREFIX = "Made-"


def procedural_number(name: str) -> int | None:
    """The number of a made town's name; None for other names. Raises ValueError for `Made-` without a number."""
    if not name.startswith(PREFIX):
        return None
    number = name.removeprefix(PREFIX)
    if not number.isdigit():
        raise ValueError(f"map {name!r}: expected a whole number after {PREFIX!r}, such as {PREFIX}0")
    return int(number)


def procedural_sha256(name: str) -> str:
    """Stands for the hash of a source file: changes with the recipe."""
    return hashlib.sha256(f"{name} {PROCEDURAL_VERSION}".encode()).hexdigest()
