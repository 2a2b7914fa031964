"""Faces: where they are in a photo, and the similarity to the frame the models were trained in.

Nobody is recognized, nothing is stored, and all of it happens on the machine itself.
"""

from inpaint_hub.faces.alignment import TEMPLATE, frame_of
from inpaint_hub.faces.detector import Face, FaceDetector
from inpaint_hub.faces.finding import MIN_FACE_PX, find_faces
from inpaint_hub.faces.symmetry import OtherHalf, other_half

__all__ = [
    "MIN_FACE_PX",
    "TEMPLATE",
    "Face",
    "FaceDetector",
    "OtherHalf",
    "find_faces",
    "frame_of",
    "other_half",
]
