"""Observations as networks read them: flat numbers, sets with masks, and what only the critic may see.

An observation is any dataclass or NamedTuple whose fields follow one rule: a field `name` beside a field
`name_mask` (or `name_set` beside `name_mask`) is a set, [..., elements, features] with its mask [..., elements];
every other field is flat, [..., features]. A field that is None is not there. A flat field whose name starts with
`critic_` is for the critic alone.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from jaxtyping import Array

CRITIC_PREFIX = "critic_"
"""The remaining time improves an estimate of the return, and a policy that sees it takes risks towards the end
("Scaling Is All You Need", section 3.3.1)."""


class Features(NamedTuple):
    """An observation sorted into what each encoder reads."""

    flat: list[Array]  # each [..., features]
    sets: dict[str, tuple[Array, Array]]  # name -> ([..., elements, features], [..., elements] bool)
    critic: list[Array]  # each [..., features], not for the policy


def sort_features(observation: Any) -> Features:
    """Split an observation by the rule in the module's docstring. Raises ValueError for a set named `critic_...`."""
    if dataclasses.is_dataclass(observation):
        names = [field.name for field in dataclasses.fields(observation)]
    else:
        names = list(observation._fields)
    masks = {name.removesuffix("_mask") for name in names if name.endswith("_mask")}
    features = Features(flat=[], sets={}, critic=[])
    for name in names:
        stem = name.removesuffix("_set")
        if name.endswith("_mask"):
            continue
        value = getattr(observation, name)
        if value is None:
            continue
        if stem in masks and name.startswith(CRITIC_PREFIX):
            raise ValueError(
                f"observation field {name} is a set; expected fields for the critic alone to be flat"
            )
        if stem in masks:
            features.sets[stem] = (value, getattr(observation, f"{stem}_mask"))
        elif name.startswith(CRITIC_PREFIX):
            features.critic.append(value)
        else:
            features.flat.append(value)
    return features
