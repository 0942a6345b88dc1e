"""The reference line of a road in the plane: lines, arcs, spirals and polynomials, one after the other.

Curves as ASAM OpenDRIVE 1.8, section 9 defines them. `s` is the distance along the reference line as the file counts
it, t the distance from it, positive to the left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simulator.roads.opendrive.xml_elements import Element, shown

CURVES = ("line", "arc", "spiral", "poly3", "paramPoly3")
LONGEST_ROAD_M = 200_000.0
LONGEST_SPIRAL_M, MOST_TURN_RAD = 20_000.0, 100.0
"""Longer spirals, and those that turn by more, are refused: roads have some hundred metres of one and less than a turn
(ours)."""

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]
"""u, v (m) and heading (rad) [n], in the frame of the curve's own start."""


@dataclass(frozen=True)
class Piece:
    """One geometry record: where it starts, how long it is, and its curve."""

    s: float
    x: float
    y: float
    heading: float  # rad
    length: float
    curve: str  # one of CURVES
    numbers: tuple[
        float, ...
    ]  # arc: curvature; spiral: curvature at start and end; polynomials: coefficients
    by_share: bool = True  # paramPoly3 only: the parameter runs from 0 to 1 rather than to the length

    def local(self, d: Float[np.ndarray, " n"]) -> Curve:
        """The curve at distances `d` (m) from its start."""
        if self.curve == "line":
            return d, np.zeros_like(d), np.zeros_like(d)
        if self.curve == "arc":
            return _spiral(d, self.numbers[0], 0.0)
        if self.curve == "spiral":
            first, last = self.numbers
            return _spiral(d, first, (last - first) / self.length)
        if self.curve == "poly3":
            return _polynomial(_parameter_of_length(d, self.numbers), (0.0, 1.0, 0.0, 0.0), self.numbers)
        p = d / self.length if self.by_share else d
        return _polynomial(p, self.numbers[:4], self.numbers[4:])


@dataclass(frozen=True)
class PlanView:
    """The reference line of one road."""

    pieces: tuple[Piece, ...]  # in increasing order of s

    @property
    def end(self) -> float:
        """Where the last piece ends, m along the reference line."""
        return self.pieces[-1].s + self.pieces[-1].length

    def at(self, s: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
        """x, y (m, float64) and heading (rad) of the reference line at `s`; the last curve goes on behind its end."""
        starts = np.array([piece.s for piece in self.pieces])
        owner = np.clip(np.searchsorted(starts, s, side="right") - 1, 0, len(starts) - 1)
        result = np.empty((len(s), 3))
        for number in np.unique(owner).tolist():
            piece, mine = self.pieces[number], owner == number
            u, v, turn = piece.local(s[mine] - piece.s)
            cos, sin = np.cos(piece.heading), np.sin(piece.heading)
            result[mine, 0] = piece.x + u * cos - v * sin
            result[mine, 1] = piece.y + u * sin + v * cos
            result[mine, 2] = piece.heading + turn
        return result

    def jumps(self) -> list[tuple[float, float]]:
        """(s, gap in m) at each joint of two pieces."""
        joints = []
        for before, after in zip(self.pieces, self.pieces[1:], strict=False):
            end = PlanView((before,)).at(np.array([after.s]))[0]
            joints.append((after.s, float(np.hypot(end[0] - after.x, end[1] - after.y))))
        return joints


def read_plan_view(road: Element, length: float) -> PlanView:
    """The plan view of a <road>. Raises ValueError for one without curves, of unknown curves, or with a length that is
    not positive."""
    pieces = [_read_piece(element) for element in road.children("planView", "geometry")]
    pieces = sorted((piece for piece in pieces if piece.length > 1e-6), key=lambda piece: piece.s)
    if not pieces:
        raise ValueError(f"{road.place}: planView holds no geometry with a length; expected at least one")
    if pieces[0].s > 0.01 or abs(pieces[0].s) > length + 1.0:
        raise ValueError(f"{road.place}: planView starts at s={pieces[0].s:g}; expected 0")
    return PlanView(tuple(pieces))


def _read_piece(element: Element) -> Piece:
    s, x, y, heading = (element.number(name) for name in ("s", "x", "y", "hdg"))
    length = element.number("length")
    if not 0 <= length <= LONGEST_ROAD_M or not 0 <= s <= LONGEST_ROAD_M:
        raise ValueError(
            f"{element.place}: s is {s:g}, length is {length:g}; expected 0 to {LONGEST_ROAD_M:g} m"
        )
    curve = next((found for name in CURVES if (found := element.child(name)) is not None), None)
    if curve is None:
        holds = ", ".join(f"<{node.tag}>" for node in element.node) or "nothing"
        raise ValueError(f"{element.place}: holds {holds}; expected one of {', '.join(CURVES)}")
    name, by_share = curve.node.tag, True
    numbers: tuple[float, ...] = ()
    if name == "arc":
        numbers = curve.numbers("curvature")
    elif name == "spiral":
        numbers = curve.numbers("curvStart", "curvEnd")
        _check_spiral(curve, length, *numbers)
    elif name == "poly3":
        numbers = curve.numbers("a", "b", "c", "d")
    elif name == "paramPoly3":
        numbers = curve.numbers("aU", "bU", "cU", "dU", "aV", "bV", "cV", "dV")
        by_share = _by_share(curve)
    if max(map(abs, numbers), default=0.0) > 1e6:
        raise ValueError(
            f"{curve.place}: {max(numbers, key=abs):g} is no plausible coefficient; expected at most 1e6"
        )
    return Piece(s, x, y, heading, length, name, numbers, by_share)


def _check_spiral(curve: Element, length: float, first: float, last: float) -> None:
    turn = max(abs(first), abs(last)) * length
    if turn > MOST_TURN_RAD or length > LONGEST_SPIRAL_M:
        raise ValueError(
            f"{curve.place}: is {length:g} m long and turns by up to {turn:g} rad; expected at most "
            f"{LONGEST_SPIRAL_M:g} m and {MOST_TURN_RAD:g} rad"
        )


def _by_share(curve: Element) -> bool:
    """Whether the parameter runs from 0 to 1 (the default of the standard) rather than to the length."""
    found = curve.text("pRange", "normalized")
    if found not in ("normalized", "arcLength"):
        raise ValueError(f"{curve.place}: pRange is {shown(found)}; expected arcLength or normalized")
    return found == "normalized"


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


def _spiral(d: np.ndarray, curvature: float, per_metre: float) -> Curve:
    """A clothoid: curvature `curvature` + `per_metre` d (1/m). Integrated by Gauss and Legendre's rule on pieces that
    turn by about a radian at most, which is exact to a micrometre."""
    turn = d * (curvature + 0.5 * per_metre * d)
    if per_metre == 0.0:
        if abs(curvature) < 1e-12:
            return d, np.zeros_like(d), turn
        return np.sin(turn) / curvature, (1 - np.cos(turn)) / curvature, turn
    last = float(np.max(np.abs(d), initial=0.0))
    most = abs(curvature) * last + 0.5 * abs(per_metre) * last**2
    pieces = min(int(np.ceil(most)) + 1, 1000)
    share = (np.arange(pieces)[:, None] + 0.5 * (_NODES + 1)).ravel() / pieces
    weight = np.tile(0.5 * _WEIGHTS / pieces, pieces)
    at = d[:, None] * share
    angle = at * (curvature + 0.5 * per_metre * at)
    return d * (np.cos(angle) @ weight), d * (np.sin(angle) @ weight), turn


def _polynomial(p: np.ndarray, u: tuple[float, ...], v: tuple[float, ...]) -> Curve:
    """Cubic polynomials of the parameter `p` for both axes."""
    values = [a + p * (b + p * (c + p * d)) for a, b, c, d in (u, v)]
    slopes = [b + p * (2 * c + 3 * p * d) for _, b, c, d in (u, v)]
    return values[0], values[1], np.arctan2(slopes[1], slopes[0])


def _parameter_of_length(d: np.ndarray, v: tuple[float, ...]) -> np.ndarray:
    """The abscissa u of a poly3 at lengths `d` (m) along its curve."""
    last = float(np.max(d, initial=0.0))
    u = np.linspace(0.0, max(last, 1e-9), 2001)  # the curve is at least as long as its abscissa
    speed = np.sqrt(1.0 + (v[1] + u * (2 * v[2] + 3 * u * v[3])) ** 2)
    length = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(u))])
    return np.interp(d, length, u)
