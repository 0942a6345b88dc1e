"""Whether values of a YAML file are of the types that the fields of a configuration are annotated with."""

from __future__ import annotations

import types
import typing

LARGEST_WHOLE = 2**63
"""Whole numbers of this magnitude and more fit no counter and no seed."""
_WORDS = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}


def fits(value: object, hint: object) -> bool:
    """Whether a value is of an annotated type: a number, text, a tuple of these, a choice, or a union of them. Whole
    numbers stand for real ones; true and false stand for no number."""
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        wanted = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return len(wanted) == len(value) and all(map(fits, value, wanted))
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if hint in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_WHOLE
        return whole or (hint is float and isinstance(value, float))
    return not isinstance(hint, type) or isinstance(value, hint)


def described(hint: object) -> str:
    """An annotated type in words, such as "a list of 2 numbers"."""
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin is tuple:
        kind = described(arguments[0]).removeprefix("a ") + "s"
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"a list of {count}{kind}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if one is type(None) else described(one) for one in arguments)
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))  # type: ignore[call-overload]
