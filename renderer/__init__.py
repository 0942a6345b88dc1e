"""Perspective rendering of driving worlds in torch: scenes in, frames out. Imports no other room."""

from renderer.calibration_noise import CalibrationNoise, sample_rigs
from renderer.camera import Camera, CameraRig
from renderer.frame import CHANNELS, Frame
from renderer.ground import GroundLibrary, GroundMesh
from renderer.ground_quads import dashed_quads, polygon_quads, ribbon_quads, strip_quads, zebra_quads
from renderer.palette import BOX_CLASSES, GROUND_CLASSES, ClassId, Face, LightState
from renderer.parity import Parity, compare_frames
from renderer.per_viewer_rigs import render_each
from renderer.render import BACKENDS, render
from renderer.scene import Scene

__all__ = [
    "BACKENDS",
    "BOX_CLASSES",
    "CHANNELS",
    "GROUND_CLASSES",
    "CalibrationNoise",
    "Camera",
    "CameraRig",
    "ClassId",
    "Face",
    "Frame",
    "GroundLibrary",
    "GroundMesh",
    "LightState",
    "Parity",
    "Scene",
    "compare_frames",
    "dashed_quads",
    "polygon_quads",
    "render",
    "render_each",
    "ribbon_quads",
    "sample_rigs",
    "strip_quads",
    "zebra_quads",
]
