"""Names that somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` known names that resemble `name`: those with the same last part (`epochs`, `ppo.epochs`) first."""
    names = sorted(set(known))
    last = name.lstrip("-").rsplit(".", 1)[-1]
    same = [one for one in names if one.lstrip("-").rsplit(".", 1)[-1] == last]
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.7)
    return list(dict.fromkeys([*same, *close]))[:count]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean a or b?`, or nothing where no known name resembles `name`."""
    names = nearest(name, known)
    return f"; did you mean {' or '.join(names)}?" if names else ""
