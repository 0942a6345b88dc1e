"""Names of procedurally generated towns, which `simulator.roads.sources.procedural_town` generates from a number."""

from __future__ import annotations

import hashlib

PROCEDURAL_VERSION = 1
"""Version of the generator; changing it changes every generated town."""
PREFIX = "Made-"


def procedural_number(name: str) -> int | None:
    """The number in the name of a generated town; None for other names. Raises ValueError for `Made-` without a
    number."""
    if not name.startswith(PREFIX):
        return None
    number = name.removeprefix(PREFIX)
    if not number.isdigit():
        raise ValueError(f"map {name!r}: expected a whole number after {PREFIX!r}, such as {PREFIX}0")
    return int(number)


def procedural_sha256(name: str) -> str:
    """Used in place of the hash of a source file: depends on the name and on PROCEDURAL_VERSION."""
    return hashlib.sha256(f"{name} {PROCEDURAL_VERSION}".encode()).hexdigest()
