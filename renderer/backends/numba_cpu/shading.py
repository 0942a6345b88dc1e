"""Kernels for colours: the arithmetic of `renderer/backends/shading.py`, row by row.

Every colour is base * light + fog colour * fog. For surfaces, light and fog depend on distance. For the sky, base is
the zenith colour, light is a function of elevation, and fog is 1 - light.
"""

from typing import no_type_check

import numpy as np

from renderer.backends.numba_cpu.coverage import MOST_NEAR, RED, THROUGH, composite_layer
from renderer.backends.numba_cpu.polygons import kernel
from renderer.backends.numba_cpu.surfaces import DRIVABLE, NOTHING, WITH_BOXES


@kernel
@no_type_check
def finish(view, buffers, palette, rays, light, camera_height, sky, sky_row, upright, rgb, depth, class_id):
    """Fill the channels of a view from its surfaces and decals; a channel of size 0 is not wanted.

    rays: [2, height, width] x and y of each pixel's ray, where z is 1. light: [3, width] scratch space. camera_height:
    m above the viewer's ground. sky, sky_row: see `paint_sky`, valid if the view is `upright`. rgb: [height, width, 3]
    u8. depth: [height, width] f32 m. class_id: [height, width] u8. The instance channel is `buffers.instance`.
    """
    rise, bright, foggy = light[0], light[1], light[2]
    up_x, up_y, up_z = view.rotation[6], view.rotation[7], view.rotation[8]
    for row in range(buffers.key.shape[0]):
        key, material, length = buffers.key[row], buffers.material[row], buffers.length[row]
        if upright and sky_row[row] and buffers.solid[row] == NOTHING:
            _only_sky(buffers, row, sky, rgb, depth, class_id)
        else:
            _elevation(rise, rays[0, row], rays[1, row], up_x, up_y, up_z)
            _find_backdrop(key, material, length, rise, camera_height, palette.depth_bias)
            if rgb.size:
                _distance(bright, key, material, length, palette.depth_bias)
                _light(
                    bright, foggy, material, palette.atmosphere, palette.ground_dimming, palette.box_dimming
                )
                _sky_light(bright, foggy, material, rise, length, palette.atmosphere[5] / view.reach)
                out = rgb[row].reshape(-1)
                _colour(out, material, bright, foggy, palette.base, palette.atmosphere)
                if buffers.solid[row] == WITH_BOXES:
                    _colour_boxes(out, material, bright, foggy, palette.base, palette.atmosphere)
            if buffers.instance.size:
                _no_instance(buffers.instance[row], material)
            if depth.size:
                _depth(depth[row], key, material, palette.material_bias)
            if class_id.size:
                _class_id(class_id[row], material, palette.class_id)
        if buffers.touched[row]:
            layer, decals, winner = buffers.layer[row], buffers.decals[row], buffers.winner[row]
            if rgb.size:
                _composite_rgb(rgb[row], layer, decals, winner, palette.layers, palette.atmosphere)
            else:
                _composite_row(layer, decals, winner, palette.layers, palette.atmosphere)
            if depth.size:
                _decal_depth(depth[row], layer, decals, winner, length)
            if class_id.size:
                _decal_class_id(class_id[row], layer, winner, palette.layer_class)
            if buffers.instance.size:
                _no_decal_instance(buffers.instance[row], layer, winner)


@kernel
@no_type_check
def _only_sky(buffers, row, sky, rgb, depth, class_id):
    """Fill a row of all channels with the prepared sky; decals are composited afterwards."""
    if rgb.size:
        out, held = rgb[row].reshape(-1), sky[row].reshape(-1)
        for index in range(out.shape[0]):
            out[index] = held[index]
    if depth.size:
        depth[row, :] = np.float32(np.inf)
    if class_id.size:
        class_id[row, :] = 0
    if buffers.instance.size:
        buffers.instance[row, :] = -1


@kernel
@no_type_check
def paint_sky(sky, sky_row, rays, up, atmosphere, base):
    """Fill `sky` [height, width, 3] for a camera on an upright vehicle, and `sky_row` [height]: 1 for rows of sky only.

    rays: [2, height, width]. up: [3] the world's up direction in the camera frame.
    """
    height, width, _ = sky.shape
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    for row in range(height):
        sky_row[row] = 1
        for column in range(width):
            x, y = rays[0, row, column], rays[1, row, column]
            rise = up[0] * x + up[1] * y + up[2]
            if rise < zero:
                sky_row[row] = 0
            share = min(max(rise / np.sqrt(x * x + y * y + one) * atmosphere[5], zero), one)
            for channel in range(3):
                colour = base[channel, 0] * share + atmosphere[channel] * (one - share)
                sky[row, column, channel] = np.uint8(colour + half)


@kernel
@no_type_check
def _elevation(rise, ray_x, ray_y, up_x, up_y, up_z):
    """Rise of a row's rays, m upwards per m of depth, into `rise`."""
    for column in range(rise.shape[0]):
        rise[column] = up_x * ray_x[column] + up_y * ray_y[column] + up_z


@kernel
@no_type_check
def _find_backdrop(key, material, length, rise, camera_height, depth_bias):
    """Replace surfaces beyond the draw distance by bare ground or sky in `key` (sky: 0) and `material`."""
    zero, one = np.float32(0), np.float32(1)
    level = np.float32(-1) / camera_height if camera_height > zero else zero
    for column in range(key.shape[0]):
        paint = material[column]
        down = max(rise[column] * level, zero)
        beyond = key[column] < length[column] * (depth_bias if paint > DRIVABLE else one)
        key[column] = down if beyond else key[column]
        material[column] = (np.uint8(1) if down > zero else np.uint8(0)) if beyond else paint


@kernel
@no_type_check
def _distance(distance, key, material, length, depth_bias):
    """Distance of a row's surfaces along the ray, in draw distances and at most 1, into `distance`."""
    one = np.float32(1)
    for column in range(key.shape[0]):
        bias = depth_bias if material[column] > DRIVABLE else one
        distance[column] = min(bias * length[column] / key[column], one)


@kernel
@no_type_check
def _light(bright, foggy, material, atmosphere, ground_dimming, box_dimming):
    """Replace the distances of surfaces in `bright` by their light, and fill `foggy` with their fog."""
    zero, one, fog_start, fog_scale = np.float32(0), np.float32(1), atmosphere[3], atmosphere[4]
    for column in range(bright.shape[0]):
        distance = bright[column]
        fog = max((distance - fog_start) * fog_scale, zero)
        foggy[column] = fog
        bright[column] = (
            one - (box_dimming if material[column] > DRIVABLE else ground_dimming) * distance
        ) * (one - fog)


@kernel
@no_type_check
def _sky_light(bright, foggy, material, rise, length, zenith_scale):
    """Fill `bright` and `foggy` with light and fog of the sky, from its elevation."""
    zero, one = np.float32(0), np.float32(1)
    for column in range(bright.shape[0]):
        if material[column] == 0:
            share = min(max(rise[column] / length[column] * zenith_scale, zero), one)
            bright[column], foggy[column] = share, one - share


@kernel
@no_type_check
def _colour(out, material, bright, foggy, base, atmosphere):
    """Write the colours of a row's road, bare ground and sky to `out` [3 * width] u8.

    Colours are selected instead of looked up, and columns are unsigned (no test for counting from the end), so that
    the compiler vectorises the loop: five times as fast.
    """
    half = np.float32(0.5)
    three, one, two = np.uint64(3), np.uint64(1), np.uint64(2)
    sky_red, ground_red, road_red = base[0, 0], base[0, 1], base[0, DRIVABLE]
    sky_green, ground_green, road_green = base[1, 0], base[1, 1], base[1, DRIVABLE]
    sky_blue, ground_blue, road_blue = base[2, 0], base[2, 1], base[2, DRIVABLE]
    fog_red, fog_green, fog_blue = atmosphere[0], atmosphere[1], atmosphere[2]
    for column in range(np.uint64(bright.shape[0])):
        paint, light, fog = material[column], bright[column], foggy[column]
        red = sky_red if paint == 0 else (ground_red if paint == 1 else road_red)
        green = sky_green if paint == 0 else (ground_green if paint == 1 else road_green)
        blue = sky_blue if paint == 0 else (ground_blue if paint == 1 else road_blue)
        out[three * column] = np.uint8(np.int32(red * light + fog_red * fog + half))
        out[three * column + one] = np.uint8(np.int32(green * light + fog_green * fog + half))
        out[three * column + two] = np.uint8(np.int32(blue * light + fog_blue * fog + half))


@kernel
@no_type_check
def _colour_boxes(out, material, bright, foggy, base, atmosphere):
    """Write the colours of a row's boxes to `out` [3 * width] u8."""
    half = np.float32(0.5)
    for column in range(bright.shape[0]):
        paint = material[column]
        if paint > DRIVABLE:
            for channel in range(3):
                colour = base[channel, paint] * bright[column] + atmosphere[channel] * foggy[column]
                out[3 * column + channel] = np.uint8(colour + half)


@kernel
@no_type_check
def _no_instance(instance, material):
    """Set the instance of a row's sky and ground pixels to -1."""
    for column in range(instance.shape[0]):
        if material[column] <= DRIVABLE:
            instance[column] = -1


@kernel
@no_type_check
def _depth(depth, key, material, material_bias):
    """A row's depth, m, from its depth-test keys."""
    for column in range(depth.shape[0]):
        depth[column] = material_bias[material[column]] / key[column]


@kernel
@no_type_check
def _class_id(class_id, material, classes):
    """A row's class ids, from its materials."""
    for column in range(class_id.shape[0]):
        class_id[column] = classes[material[column]]


@kernel
@no_type_check
def _composite_row(layer, decals, winner, layers, atmosphere):
    """Composite the open layer of every pixel of a row over the layers below it."""
    for column in range(layer.shape[0]):
        if layer[column]:
            composite_layer(decals, winner, layer[column], column, layers, atmosphere)


@kernel
@no_type_check
def _composite_rgb(rgb, layer, decals, winner, layers, atmosphere):
    """As `_composite_row`, and composite the result over the colours of the row, rgb [width, 3] u8."""
    half, full = np.float32(0.5), np.float32(255)
    for column in range(layer.shape[0]):
        if layer[column]:
            composite_layer(decals, winner, layer[column], column, layers, atmosphere)
            through = decals[column, THROUGH]
            for channel in range(3):
                mixed = rgb[column, channel] * through + decals[column, RED + channel] + half
                rgb[column, channel] = np.uint8(min(mixed, full))


@kernel
@no_type_check
def _decal_depth(depth, layer, decals, winner, length):
    """Overwrite a row's depth, m, where a layer covers most of the pixel."""
    for column in range(layer.shape[0]):
        if layer[column] and winner[column]:
            depth[column] = decals[column, MOST_NEAR] / length[column]


@kernel
@no_type_check
def _decal_class_id(class_id, layer, winner, classes):
    """Overwrite a row's class ids where a layer covers most of the pixel."""
    for column in range(layer.shape[0]):
        if layer[column] and winner[column]:
            class_id[column] = classes[winner[column] - 1]


@kernel
@no_type_check
def _no_decal_instance(instance, layer, winner):
    """Set a row's instances to -1 where a layer covers most of the pixel."""
    for column in range(layer.shape[0]):
        if layer[column] and winner[column]:
            instance[column] = -1
