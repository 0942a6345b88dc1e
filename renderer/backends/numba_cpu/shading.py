"""Compiled colours of the fast renderer for CPUs; the arithmetic of `shading.py`.

Every colour is a base times a light plus the haze's colour times a haze. Surfaces are lit by distance; the sky's base
is its zenith, so it is lit by elevation.
"""

from typing import no_type_check

import numpy as np

from renderer.backends.numba_cpu.coverage import MOST_NEAR, RED, THROUGH, settle
from renderer.backends.numba_cpu.polygons import kernel
from renderer.backends.numba_cpu.surfaces import NOTHING, ROAD, WITH_BOXES


@kernel
@no_type_check
def finish(eye, picture, look, rays, light, eye_height, sky, sky_row, upright, rgb, depth, class_id):
    """Fill the channels of a view whose surfaces and thin things are drawn; a channel of no size is not wanted."""
    rise, bright, hazy = light[0], light[1], light[2]
    up_x, up_y, up_z = eye.rotation[6], eye.rotation[7], eye.rotation[8]
    for row in range(picture.key.shape[0]):
        key, material, length = picture.key[row], picture.material[row], picture.length[row]
        if upright and sky_row[row] and picture.solid[row] == NOTHING:
            _only_sky(picture, row, sky, rgb, depth, class_id)
        else:
            _elevation(rise, rays[0, row], rays[1, row], up_x, up_y, up_z)
            _find_backdrop(key, material, length, rise, eye_height, look.top_precedence)
            if rgb.size:
                _distance(bright, key, material, length, look.top_precedence)
                _light(bright, hazy, material, look.air, look.ground_dimming, look.box_dimming)
                _sky_light(bright, hazy, material, rise, length, look.air[5] / eye.reach)
                out = rgb[row].reshape(-1)
                _colour(out, material, bright, hazy, look.base, look.air)
                if picture.solid[row] == WITH_BOXES:
                    _colour_boxes(out, material, bright, hazy, look.base, look.air)
            if picture.instance.size:
                _no_instance(picture.instance[row], material)
            if depth.size:
                _depth(depth[row], key, material, look.precedence)
            if class_id.size:
                _class_id(class_id[row], material, look.class_id)
        if picture.touched[row]:
            layer, thin, winner = picture.layer[row], picture.thin[row], picture.winner[row]
            if rgb.size:
                _lay_over(rgb[row], layer, thin, winner, look.layers, look.air)
            else:
                _settle_all(layer, thin, winner, look.layers, look.air)
            if depth.size:
                _thin_depth(depth[row], layer, thin, winner, length)
            if class_id.size:
                _thin_class_id(class_id[row], layer, winner, look.layer_class)
            if picture.instance.size:
                _no_thin_instance(picture.instance[row], layer, winner)


@kernel
@no_type_check
def _only_sky(picture, row, sky, rgb, depth, class_id):
    """A row with nothing but sky behind thin things."""
    if rgb.size:
        out, held = rgb[row].reshape(-1), sky[row].reshape(-1)
        for place in range(out.shape[0]):
            out[place] = held[place]
    if depth.size:
        depth[row, :] = np.float32(np.inf)
    if class_id.size:
        class_id[row, :] = 0
    if picture.instance.size:
        picture.instance[row, :] = -1


@kernel
@no_type_check
def paint_sky(sky, sky_row, rays, up, air, base):
    """The sky as a camera of an upright vehicle sees it, and in which rows it sees nothing else."""
    height, width, _ = sky.shape
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    for row in range(height):
        sky_row[row] = 1
        for column in range(width):
            x, y = rays[0, row, column], rays[1, row, column]
            rise = up[0] * x + up[1] * y + up[2]
            if rise < zero:
                sky_row[row] = 0
            share = min(max(rise / np.sqrt(x * x + y * y + one) * air[5], zero), one)
            for channel in range(3):
                colour = base[channel, 0] * share + air[channel] * (one - share)
                sky[row, column, channel] = np.uint8(colour + half)


@kernel
@no_type_check
def _elevation(rise, ray_x, ray_y, up_x, up_y, up_z):
    """How much a row's rays climb, m per m of depth."""
    for column in range(rise.shape[0]):
        rise[column] = up_x * ray_x[column] + up_y * ray_y[column] + up_z


@kernel
@no_type_check
def _find_backdrop(key, material, length, rise, eye_height, top_precedence):
    """Bare ground or sky where no surface is within the draw distance; sky has 1/depth 0."""
    zero, one = np.float32(0), np.float32(1)
    level = np.float32(-1) / eye_height if eye_height > zero else zero
    for column in range(key.shape[0]):
        paint = material[column]
        down = max(rise[column] * level, zero)
        beyond = key[column] < length[column] * (top_precedence if paint > ROAD else one)
        key[column] = down if beyond else key[column]
        material[column] = (np.uint8(1) if down > zero else np.uint8(0)) if beyond else paint


@kernel
@no_type_check
def _distance(away, key, material, length, top_precedence):
    """Of surfaces, in draw distances; 1 at most."""
    one = np.float32(1)
    for column in range(key.shape[0]):
        precedence = top_precedence if material[column] > ROAD else one
        away[column] = min(precedence * length[column] / key[column], one)


@kernel
@no_type_check
def _light(bright, hazy, material, air, ground_dimming, box_dimming):
    """Light and haze of surfaces, from their distance in `bright`."""
    zero, one, haze_start, haze_scale = np.float32(0), np.float32(1), air[3], air[4]
    for column in range(bright.shape[0]):
        away = bright[column]
        haze = max((away - haze_start) * haze_scale, zero)
        hazy[column] = haze
        bright[column] = (one - (box_dimming if material[column] > ROAD else ground_dimming) * away) * (
            one - haze
        )


@kernel
@no_type_check
def _sky_light(bright, hazy, material, rise, length, zenith_scale):
    """Light and haze of the sky, from its elevation."""
    zero, one = np.float32(0), np.float32(1)
    for column in range(bright.shape[0]):
        if material[column] == 0:
            share = min(max(rise[column] / length[column] * zenith_scale, zero), one)
            bright[column], hazy[column] = share, one - share


@kernel
@no_type_check
def _colour(out, material, bright, hazy, base, air):
    """A row's road, bare ground and sky into `out` [3 x width].

    By choosing, not by looking up, and with unsigned columns, which cannot count from the end: so that the compiler
    sees that pixels can be computed side by side and stored together. Five times as fast.
    """
    half = np.float32(0.5)
    three, one, two = np.uint64(3), np.uint64(1), np.uint64(2)
    sky_red, ground_red, road_red = base[0, 0], base[0, 1], base[0, ROAD]
    sky_green, ground_green, road_green = base[1, 0], base[1, 1], base[1, ROAD]
    sky_blue, ground_blue, road_blue = base[2, 0], base[2, 1], base[2, ROAD]
    haze_red, haze_green, haze_blue = air[0], air[1], air[2]
    for column in range(np.uint64(bright.shape[0])):
        paint, light, haze = material[column], bright[column], hazy[column]
        red = sky_red if paint == 0 else (ground_red if paint == 1 else road_red)
        green = sky_green if paint == 0 else (ground_green if paint == 1 else road_green)
        blue = sky_blue if paint == 0 else (ground_blue if paint == 1 else road_blue)
        out[three * column] = np.uint8(np.int32(red * light + haze_red * haze + half))
        out[three * column + one] = np.uint8(np.int32(green * light + haze_green * haze + half))
        out[three * column + two] = np.uint8(np.int32(blue * light + haze_blue * haze + half))


@kernel
@no_type_check
def _colour_boxes(out, material, bright, hazy, base, air):
    """A row's boxes into `out` [3 x width]."""
    half = np.float32(0.5)
    for column in range(bright.shape[0]):
        paint = material[column]
        if paint > ROAD:
            for channel in range(3):
                colour = base[channel, paint] * bright[column] + air[channel] * hazy[column]
                out[3 * column + channel] = np.uint8(colour + half)


@kernel
@no_type_check
def _no_instance(instance, material):
    """Neither sky nor ground is one."""
    for column in range(instance.shape[0]):
        if material[column] <= ROAD:
            instance[column] = -1


@kernel
@no_type_check
def _depth(depth, key, material, precedence):
    for column in range(depth.shape[0]):
        depth[column] = precedence[material[column]] / key[column]


@kernel
@no_type_check
def _class_id(class_id, material, classes):
    for column in range(class_id.shape[0]):
        class_id[column] = classes[material[column]]


@kernel
@no_type_check
def _settle_all(layer, thin, winner, layers, air):
    """Mix the last layer of every pixel of a row into what lies over its surface."""
    for column in range(layer.shape[0]):
        if layer[column]:
            settle(thin, winner, layer[column], column, layers, air)


@kernel
@no_type_check
def _lay_over(rgb, layer, thin, winner, layers, air):
    """The same, and the colours of the row under its thin things."""
    half, full = np.float32(0.5), np.float32(255)
    for column in range(layer.shape[0]):
        if layer[column]:
            settle(thin, winner, layer[column], column, layers, air)
            through = thin[column, THROUGH]
            for channel in range(3):
                mixed = rgb[column, channel] * through + thin[column, RED + channel] + half
                rgb[column, channel] = np.uint8(min(mixed, full))


@kernel
@no_type_check
def _thin_depth(depth, layer, thin, winner, length):
    for column in range(layer.shape[0]):
        if layer[column] and winner[column]:
            depth[column] = thin[column, MOST_NEAR] / length[column]


@kernel
@no_type_check
def _thin_class_id(class_id, layer, winner, classes):
    for column in range(layer.shape[0]):
        if layer[column] and winner[column]:
            class_id[column] = classes[winner[column] - 1]


@kernel
@no_type_check
def _no_thin_instance(instance, layer, winner):
    for column in range(layer.shape[0]):
        if layer[column] and winner[column]:
            instance[column] = -1
