"""Observations as network inputs: flat features, sets with masks, and critic-only features.

An observation is any dataclass or NamedTuple whose fields follow one rule: a field `name` beside a field
`name_mask` (or `name_set` beside `name_mask`) is a set, [..., elements, features] with its mask [..., elements];
every other field is flat, [..., features]. A field that is None is absent. A flat field whose name starts with
`critic_` is an input of the critic only.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from jaxtyping import Array

CRITIC_PREFIX = "critic_"
"""Of fields such as the remaining time: it improves the estimate of the return, but a policy that observes it takes
risks towards the end ("Scaling Is All You Need", section 3.3.1)."""


class Features(NamedTuple):
    """An observation, divided into the inputs of the encoders."""

    flat: list[Array]  # each [..., features]
    sets: dict[str, tuple[Array, Array]]  # name -> ([..., elements, features], [..., elements] bool)
    critic: list[Array]  # each [..., features], for the critic only


def sort_features(observation: object) -> Features:
    """Divides an observation by the rule in the module's docstring. Raises ValueError for a set named `critic_...`."""
    if dataclasses.is_dataclass(observation):
        names = [field.name for field in dataclasses.fields(observation)]
    else:
        names = list(getattr(observation, "_fields"))  # noqa: B009
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
            raise ValueError(f"observation field {name} is a set; expected critic-only fields to be flat")
        if stem in masks:
            features.sets[stem] = (value, getattr(observation, f"{stem}_mask"))
        elif name.startswith(CRITIC_PREFIX):
            features.critic.append(value)
        else:
            features.flat.append(value)
    return features
