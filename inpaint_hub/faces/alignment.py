"""From five points of a face to the square that the models for faces were trained on."""

import math

import numpy as np

from inpaint_hub.crops import TurnedWindow

# Where eyes and corners of the mouth lie in the training pictures, (x, y) in shares of the side:
# measured on the pictures the bundled weights saw (docs/WEIGHTS.md). The nose has no fixed place.
TEMPLATE = np.array([[0.336, 0.329], [0.661, 0.329], [0.361, 0.688], [0.640, 0.688]])
ALIGNED = [0, 1, 3, 4]  # of a Face's points: the eyes and the corners of the mouth


def similarity(source, target):
    """(scale, angle in radians, shift [2]) with which `source` [n,2] comes to lie on `target`
    [n,2], in least squares and without mirroring (Umeyama, 1991)."""
    a, b = (np.asarray(p, float) for p in (source, target))
    a0, b0 = a.mean(axis=0), b.mean(axis=0)
    x, y = ((a - a0) @ (1, 1j), (b - b0) @ (1, 1j))  # turning and scaling is a complex factor
    factor = np.vdot(x, y) / np.vdot(x, x).real
    scale, angle = abs(factor), math.atan2(factor.imag, factor.real)
    turned = a0 @ (1, 1j) * factor
    return scale, angle, b0 - (turned.real, turned.imag)


def frame_of(points):
    """The TurnedWindow of a photo in which a face with these five points (detector.Face) lies as
    the training pictures have it."""
    scale, angle, shift = similarity(TEMPLATE, np.asarray(points, float)[ALIGNED])
    middle = np.array([0.5, 0.5]) @ (1, 1j) * scale * complex(math.cos(angle), math.sin(angle))
    return TurnedWindow(
        float(shift[0] + middle.real), float(shift[1] + middle.imag), float(scale), float(angle)
    )
