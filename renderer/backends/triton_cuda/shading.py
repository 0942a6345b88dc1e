"""Colours of the Triton backend: the arithmetic of `shading.py`, for one tile of pixels."""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

from renderer.palette import HAZE_RGB, HAZE_START, ZENITH_RGB, ZENITH_SINE

RED, GREEN, BLUE, DIMMING, MATERIAL = (tl.constexpr(column) for column in range(5))
MATERIAL_COLUMNS, LAYER_COLUMNS = tl.constexpr(4), tl.constexpr(5)  # of the tables of `Look`

HAZE_RED, HAZE_GREEN, HAZE_BLUE = (tl.constexpr(float(level)) for level in HAZE_RGB)
ZENITH_RED, ZENITH_GREEN, ZENITH_BLUE = (tl.constexpr(float(level)) for level in ZENITH_RGB)
HAZE_BEGIN, HAZE_SCALE = tl.constexpr(HAZE_START), tl.constexpr(1 / (1 - HAZE_START))
ZENITH_SCALE = tl.constexpr(1 / float(ZENITH_SINE))


class Look(NamedTuple):
    """Tables of the palette."""

    material: Any  # [materials, 4] f32: colour, dimming
    class_id: Any  # [materials] u8
    layer: Any  # [layers, 5] f32: colour, dimming, material


@triton.jit
@no_type_check
def through_air(colour, haze_colour, light, haze):
    """One channel of something, lit and lost in haze."""
    return colour * light * (1.0 - haze) + haze * haze_colour


@triton.jit
@no_type_check
def shade_surfaces(look, material, away, sine):
    """Red, green and blue of surfaces `away` draw distances (1 at most) from the eye, and of sky by its elevation."""
    row = look.material + material * MATERIAL_COLUMNS
    sky = material == 0
    share = tl.minimum(tl.maximum(sine * ZENITH_SCALE, 0.0), 1.0)
    # The sky is its zenith, lit by elevation: one formula for all, and no pixel is drawn twice.
    haze = tl.where(sky, 1.0 - share, tl.maximum((away - HAZE_BEGIN) * HAZE_SCALE, 0.0))
    light = tl.where(sky, 1.0, 1.0 - tl.load(row + DIMMING) * away)
    red = tl.where(sky, ZENITH_RED, tl.load(row + RED))
    green = tl.where(sky, ZENITH_GREEN, tl.load(row + GREEN))
    blue = tl.where(sky, ZENITH_BLUE, tl.load(row + BLUE))
    return (
        through_air(red, HAZE_RED, light, haze),
        through_air(green, HAZE_GREEN, light, haze),
        through_air(blue, HAZE_BLUE, light, haze),
    )


@triton.jit
@no_type_check
def lay_over(look, layer, covered, distance, metres, picture, RGB: tl.constexpr, WINNER: tl.constexpr):
    """Mix one layer over a picture: red, green, blue, the largest share, whose it is (a material), and its depth.

    covered: share of each pixel, may exceed 1. distance: the same, times draw distances from the eye. metres: depth at
    one draw distance.
    """
    red, green, blue, most, winner, depth = picture
    row = look.layer + layer * LAYER_COLUMNS
    away = distance / tl.maximum(covered, 1e-12)
    share = tl.minimum(covered, 1.0)
    if RGB:
        nearby = tl.minimum(away, 1.0)
        light = 1.0 - tl.load(row + DIMMING) * nearby
        haze = tl.maximum((nearby - HAZE_BEGIN) * HAZE_SCALE, 0.0)
        red += (through_air(tl.load(row + RED), HAZE_RED, light, haze) - red) * share
        green += (through_air(tl.load(row + GREEN), HAZE_GREEN, light, haze) - green) * share
        blue += (through_air(tl.load(row + BLUE), HAZE_BLUE, light, haze) - blue) * share
    if WINNER:
        most *= 1.0 - share
        wins = (share > 0.0) & (share >= most)
        most = tl.where(wins, share, most)
        winner = tl.where(wins, tl.load(row + MATERIAL).to(tl.int32), winner)
        depth = tl.where(wins, away * metres, depth)
    return red, green, blue, most, winner, depth
