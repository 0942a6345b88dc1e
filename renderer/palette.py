"""What a surface looks like: class ids, materials and colours, and the air in front of them. Plain numbers, no drawing.

A *class* says what a pixel shows (the `class_id` channel). A *material* is finer: every face of every kind of box is
one, so that a picture is fully described by one material and one depth per pixel. All backends read these tables.
"""

import colorsys
from enum import IntEnum

import numpy as np


class ClassId(IntEnum):
    """Values of the `class_id` channel of a `Frame`."""

    SKY = 0
    GROUND = 1  # bare ground below the horizon: a backdrop that never hides anything
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
    """Sides of a box, in the order in which every backend draws them."""

    FRONT = 0
    BACK = 1
    LEFT = 2
    RIGHT = 3
    TOP = 4
    BOTTOM = 5


class LightState(IntEnum):
    """Values of `Scene.light_state`; a light that shows nothing is not drawn."""

    NONE = 0
    GREEN = 1
    YELLOW = 2
    RED = 3


BOX_CLASSES = (
    ClassId.CAR,
    ClassId.TRUCK,
    ClassId.CYCLIST,
    ClassId.PEDESTRIAN,
    ClassId.STATIC,
)  # by Scene.box_class
GROUND_CLASSES = tuple(range(ClassId.DRIVABLE, ClassId.STOP_LINE + 1))  # what a GroundMesh may hold
PAINT_CLASSES = GROUND_CLASSES[1:]  # thin on top of the drivable surface: drawn by the area that they cover

# Paint lies in the plane of the road, so depth alone cannot say that it is in front. A surface counts as nearer than
# it is by its precedence: paint, lights and boxes by the same, so that what stands on the road hides paint behind it.
TOP_PRECEDENCE = 1.05

# Air: surfaces are untouched up to HAZE_START of the draw distance and vanish into the horizon at its end.
HAZE_START = 0.55
HAZE_RGB = np.array([168, 186, 201], np.float32)
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
BOX_DIMMING = 0.6  # share of its brightness that a box has lost at the draw distance
GROUND_DIMMING = 0.15

# Materials: 0-7 are the classes sky ... stop line themselves, then three lights, then six faces per kind of box.
LIGHT_MATERIAL = 8
BOX_MATERIAL = LIGHT_MATERIAL + len(LIGHT_RGB)
NUM_FACES = len(Face)
NUM_MATERIALS = BOX_MATERIAL + NUM_FACES * len(BOX_CLASSES)

# What is drawn by the area that it covers of a pixel, from the lowest layer to the highest (which hides the others).
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
    """Material of one side of a box of `Scene.box_class` `kind`."""
    return BOX_MATERIAL + NUM_FACES * kind + face


def light_material(state: LightState) -> int:
    """Material of a light that shows green, yellow or red."""
    return LIGHT_MATERIAL + state - 1


def _face_rgb(kind: int, face: Face) -> list[float]:
    hue, saturation = BOX_HUE_SATURATION[kind]
    shift, factor, value = FACE_TINT[face]
    rgb = colorsys.hsv_to_rgb((hue + shift) % 360 / 360, saturation * factor, value)
    return [255 * channel for channel in rgb]


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rgb = np.zeros((NUM_MATERIALS, 3), np.float32)
    dimming = np.zeros(NUM_MATERIALS, np.float32)
    class_id = np.zeros(NUM_MATERIALS, np.uint8)
    for ground, colour in GROUND_RGB.items():
        rgb[ground], class_id[ground] = colour, ground
        dimming[ground] = 0.0 if ground == ClassId.SKY else GROUND_DIMMING
    for state, colour in LIGHT_RGB.items():  # a lamp shines: it does not dim
        rgb[light_material(state)], class_id[light_material(state)] = colour, ClassId.TRAFFIC_LIGHT
    for kind, box in enumerate(BOX_CLASSES):
        for face in Face:
            material = box_material(kind, face)
            rgb[material], class_id[material], dimming[material] = _face_rgb(kind, face), box, BOX_DIMMING
    return rgb, dimming, class_id


# [materials, 3] colour 0-255; [materials] dimming; [materials] class
MATERIAL_RGB, MATERIAL_DIMMING, MATERIAL_CLASS = _tables()
# [materials] layer, -1 for what is not thin
MATERIAL_LAYER = np.full(NUM_MATERIALS, -1, np.int64)
MATERIAL_LAYER[list(LAYER_MATERIALS)] = np.arange(NUM_LAYERS)
# [materials] factor on 1/depth in the depth test
MATERIAL_PRECEDENCE = np.full(NUM_MATERIALS, TOP_PRECEDENCE, np.float32)
MATERIAL_PRECEDENCE[: ClassId.DRIVABLE + 1] = 1.0
