"""Tables of appearance, read by all backends: class ids, materials, colours, fog and sky.

A *class* is a value of the `class_id` channel. A *material* is finer: each face of each class of box is one, so that
material and depth determine the colour of a surface.
"""

import colorsys
from enum import IntEnum

import numpy as np


class ClassId(IntEnum):
    """Values of the `class_id` channel of a `Frame`."""

    SKY = 0
    GROUND = 1  # bare ground below the horizon: a backdrop that never occludes anything
    DRIVABLE = 2
    MARKING_WHITE = 3
    MARKING_YELLOW = 4
    ROAD_EDGE = 5
    CROSSWALK = 6
    STOP_LINE = 7
    TRAFFIC_LIGHT = 8
    CAR = 10  # 9 is unused: it was the route ribbon, and stored class ids keep their numbers
    TRUCK = 11
    CYCLIST = 12
    PEDESTRIAN = 13
    STATIC = 14


class Face(IntEnum):
    """Faces of a box, in the order of `triangles.FACE_CORNERS`."""

    FRONT = 0
    BACK = 1
    LEFT = 2
    RIGHT = 3
    TOP = 4
    BOTTOM = 5


class LightState(IntEnum):
    """Values of `Scene.light_state`; lights of state NONE are not drawn."""

    NONE = 0
    GREEN = 1
    YELLOW = 2
    RED = 3


# By Scene.box_class.
BOX_CLASSES = (
    ClassId.CAR,
    ClassId.TRUCK,
    ClassId.CYCLIST,
    ClassId.PEDESTRIAN,
    ClassId.STATIC,
)
GROUND_CLASSES = tuple(range(ClassId.DRIVABLE, ClassId.STOP_LINE + 1))  # what a GroundMesh may hold
PAINT_CLASSES = GROUND_CLASSES[1:]  # on top of the drivable surface: anti-aliased decals

# Factor on 1/depth in the depth test. Paint lies in the plane of the road, so depth alone cannot order them: paint is
# biased towards the camera. Lights and boxes have the same bias, so that they occlude paint behind them.
DEPTH_BIAS = 1.05

# Fog increases linearly from FOG_START draw distances to full opacity at the draw distance.
FOG_START = 0.55
FOG_RGB = np.array([168, 186, 201], np.float32)
ZENITH_RGB = np.array([54, 112, 190], np.float32)
ZENITH_SINE = np.float32(0.42)  # sine of the elevation at which the sky reaches its zenith colour

GROUND_RGB = {
    ClassId.SKY: (168, 186, 201),
    ClassId.GROUND: (107, 122, 92),
    ClassId.DRIVABLE: (66, 68, 76),
    ClassId.MARKING_WHITE: (240, 240, 236),
    ClassId.MARKING_YELLOW: (250, 196, 30),
    ClassId.ROAD_EDGE: (168, 124, 98),
    ClassId.CROSSWALK: (222, 226, 230),
    ClassId.STOP_LINE: (255, 120, 110),
}
LIGHT_RGB = {
    LightState.GREEN: (20, 240, 110),
    LightState.YELLOW: (255, 190, 0),
    LightState.RED: (255, 36, 32),
}
BOX_HUE_SATURATION = (  # by Scene.box_class: hue in degrees, saturation
    (212.0, 0.88),  # car: blue
    (272.0, 0.72),  # truck: violet
    (26.0, 0.95),  # cyclist: orange
    (328.0, 0.85),  # pedestrian: pink
    (40.0, 0.38),  # static: sand
)
FACE_TINT = (  # by Face: hue shift in degrees, saturation factor, value
    (0.0, 0.30, 1.00),  # front: pale, as if lit
    (0.0, 1.00, 0.42),  # back: dark
    (-16.0, 0.90, 0.94),  # left: bright
    (16.0, 0.95, 0.74),  # right: shaded
    (0.0, 0.62, 0.98),  # top: light
    (0.0, 1.00, 0.20),  # bottom
)
BOX_DIMMING = 0.6  # share of brightness that is lost at the draw distance; linear in distance
GROUND_DIMMING = 0.15

# Materials: 0-7 are the classes sky ... stop line themselves, then three lights, then six faces per kind of box.
LIGHT_MATERIAL = 8
BOX_MATERIAL = LIGHT_MATERIAL + len(LIGHT_RGB)
NUM_FACES = len(Face)
NUM_MATERIALS = BOX_MATERIAL + NUM_FACES * len(BOX_CLASSES)

# Materials of anti-aliased decals, from the lowest layer to the highest.
LAYER_MATERIALS = (
    ClassId.CROSSWALK,
    ClassId.ROAD_EDGE,
    ClassId.MARKING_WHITE,
    ClassId.MARKING_YELLOW,
    ClassId.STOP_LINE,
    *range(LIGHT_MATERIAL, BOX_MATERIAL),  # green, yellow, red
)
NUM_LAYERS = len(LAYER_MATERIALS)


def box_material(kind: int, face: Face) -> int:
    """Material of one face of a box whose `Scene.box_class` is `kind`."""
    return BOX_MATERIAL + NUM_FACES * kind + face


def light_material(state: LightState) -> int:
    """Material of a light of state green, yellow or red."""
    return LIGHT_MATERIAL + state - 1


def _face_rgb(kind: int, face: Face) -> list[float]:
    """RGB (0-255) of one face of a box of class `kind`."""
    hue, saturation = BOX_HUE_SATURATION[kind]
    shift, factor, value = FACE_TINT[face]
    rgb = colorsys.hsv_to_rgb((hue + shift) % 360 / 360, saturation * factor, value)
    return [255 * channel for channel in rgb]


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RGB, dimming and class of every material."""
    rgb = np.zeros((NUM_MATERIALS, 3), np.float32)
    dimming = np.zeros(NUM_MATERIALS, np.float32)
    class_id = np.zeros(NUM_MATERIALS, np.uint8)
    for ground, colour in GROUND_RGB.items():
        rgb[ground], class_id[ground] = colour, ground
        dimming[ground] = 0.0 if ground == ClassId.SKY else GROUND_DIMMING
    for state, colour in LIGHT_RGB.items():  # lights emit light: no dimming
        rgb[light_material(state)], class_id[light_material(state)] = colour, ClassId.TRAFFIC_LIGHT
    for kind, box in enumerate(BOX_CLASSES):
        for face in Face:
            material = box_material(kind, face)
            rgb[material], class_id[material], dimming[material] = _face_rgb(kind, face), box, BOX_DIMMING
    return rgb, dimming, class_id


# [materials, 3] f32 RGB 0-255; [materials] f32 dimming; [materials] u8 ClassId
MATERIAL_RGB, MATERIAL_DIMMING, MATERIAL_CLASS = _tables()
# [materials] layer of a decal, -1 for other materials
MATERIAL_LAYER = np.full(NUM_MATERIALS, -1, np.int64)
MATERIAL_LAYER[list(LAYER_MATERIALS)] = np.arange(NUM_LAYERS)
# [materials] f32, factor on 1/depth in the depth test
MATERIAL_DEPTH_BIAS = np.full(NUM_MATERIALS, DEPTH_BIAS, np.float32)
MATERIAL_DEPTH_BIAS[: ClassId.DRIVABLE + 1] = 1.0
