"""Bytes flipped, and the end cut off: what disks and transfers do to files of any kind."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

_PLACES = st.integers(0, 2**24)


@dataclass(frozen=True)
class ByteDamage:
    """Bits to flip, as (place, mask), and the length to cut to; places count around the end of the file."""

    flips: tuple[tuple[int, int], ...]
    cut: int | None

    def applied(self, content: bytes) -> bytes:
        """The content, damaged."""
        result = bytearray(content)
        for place, mask in self.flips:
            if result:
                result[place % len(result)] ^= mask
        return bytes(result if self.cut is None else result[: self.cut % (len(result) + 1)])


def byte_damage() -> st.SearchStrategy[ByteDamage]:
    """Up to eight bytes flipped, and the file cut in one case of four."""
    flips = st.lists(st.tuples(_PLACES, st.integers(1, 255)), min_size=1, max_size=8).map(tuple)
    return st.builds(ByteDamage, flips, st.none() | st.none() | st.none() | _PLACES)
