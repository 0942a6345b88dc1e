"""Colours of the Triton backend: the arithmetic of `renderer/backends/shading.py`, for one tile of pixels."""

from typing import Any, NamedTuple, no_type_check

import triton
import triton.language as tl

from renderer.palette import FOG_RGB, FOG_START, ZENITH_RGB, ZENITH_SINE

RED, GREEN, BLUE, DIMMING, MATERIAL = (tl.constexpr(column) for column in range(5))
MATERIAL_COLUMNS, LAYER_COLUMNS = tl.constexpr(4), tl.constexpr(5)  # of the tables of `PaletteTensors`

FOG_RED, FOG_GREEN, FOG_BLUE = (tl.constexpr(float(level)) for level in FOG_RGB)
ZENITH_RED, ZENITH_GREEN, ZENITH_BLUE = (tl.constexpr(float(level)) for level in ZENITH_RGB)
FOG_BEGIN, FOG_SCALE = tl.constexpr(FOG_START), tl.constexpr(1 / (1 - FOG_START))
ZENITH_SCALE = tl.constexpr(1 / float(ZENITH_SINE))


class PaletteTensors(NamedTuple):
    """Tables of materials and decal layers, from `palette.py`."""

    material: Any  # [materials, 4] f32: RGB 0-255, dimming
    class_id: Any  # [materials] u8
    layer: Any  # [layers, 5] f32: RGB 0-255, dimming, material


class Pixels(NamedTuple):
    """Colour of a tile's pixels so far, and the surface or layer that covers most of each."""

    red: Any  # 0-255
    green: Any
    blue: Any
    most: Any  # largest visible share
    winner: Any  # its material
    depth: Any  # its depth, m


@triton.jit
@no_type_check
def fogged(colour, fog_colour, light, fog):
    """One colour channel, multiplied by `light` and blended with fog."""
    return colour * light * (1.0 - fog) + fog * fog_colour


@triton.jit
@no_type_check
def shade_surfaces(palette, material, distance, sine):
    """Red, green and blue of surfaces at `distance` (in draw distances, at most 1), and of sky by its elevation."""
    row = palette.material + material * MATERIAL_COLUMNS
    sky = material == 0
    share = tl.minimum(tl.maximum(sine * ZENITH_SCALE, 0.0), 1.0)
    # The sky is its zenith colour with the fog of its elevation: one formula for all, and no pixel is drawn twice.
    fog = tl.where(sky, 1.0 - share, tl.maximum((distance - FOG_BEGIN) * FOG_SCALE, 0.0))
    light = tl.where(sky, 1.0, 1.0 - tl.load(row + DIMMING) * distance)
    red = tl.where(sky, ZENITH_RED, tl.load(row + RED))
    green = tl.where(sky, ZENITH_GREEN, tl.load(row + GREEN))
    blue = tl.where(sky, ZENITH_BLUE, tl.load(row + BLUE))
    return (
        fogged(red, FOG_RED, light, fog),
        fogged(green, FOG_GREEN, light, fog),
        fogged(blue, FOG_BLUE, light, fog),
    )


@triton.jit
@no_type_check
def composite(palette, layer, covered, distance, metres, pixels, RGB: tl.constexpr, WINNER: tl.constexpr):
    """Composite one layer over `pixels`; returns the new pixels, of which only what RGB and WINNER ask for is updated.

    covered: share of each pixel, may exceed 1. distance: covered * distance / draw distance. metres: depth at the draw
    distance.
    """
    red, green, blue, most, winner, depth = pixels
    row = palette.layer + layer * LAYER_COLUMNS
    away = distance / tl.maximum(covered, 1e-12)
    share = tl.minimum(covered, 1.0)
    if RGB:
        nearby = tl.minimum(away, 1.0)
        light = 1.0 - tl.load(row + DIMMING) * nearby
        fog = tl.maximum((nearby - FOG_BEGIN) * FOG_SCALE, 0.0)
        red += (fogged(tl.load(row + RED), FOG_RED, light, fog) - red) * share
        green += (fogged(tl.load(row + GREEN), FOG_GREEN, light, fog) - green) * share
        blue += (fogged(tl.load(row + BLUE), FOG_BLUE, light, fog) - blue) * share
    if WINNER:
        most *= 1.0 - share
        wins = (share > 0.0) & (share >= most)
        most = tl.where(wins, share, most)
        winner = tl.where(wins, tl.load(row + MATERIAL).to(tl.int32), winner)
        depth = tl.where(wins, away * metres, depth)
    return Pixels(red, green, blue, most, winner, depth)
