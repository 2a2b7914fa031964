"""From five points of a face to the square that the models for faces were trained on."""

import math

import numpy as np
from numpy.typing import ArrayLike

from inpaint_hub.crops import TurnedWindow

# Where the detector sees eyes, nose and corners of the mouth in the training pictures, (x, y) in
# shares of the side: the mean of 149 of them, put into photos (docs/ANY_PHOTO.md). The pictures
# were aligned by eyes and mouth, as docs/WEIGHTS.md states; MTCNN's points lie up to 1.7 % beside
# those. With the nose the middle of a face is found twice as well as without (1.0 and 1.8 % off).
TEMPLATE = np.array(
    [[0.3297, 0.3289], [0.6674, 0.3274], [0.4995, 0.5360], [0.3500, 0.6756], [0.6500, 0.6757]]
)


def similarity(source: ArrayLike, target: ArrayLike) -> tuple[float, float, np.ndarray]:
    """(scale, angle in radians, shift [2]) with which `source` [n,2] comes to lie on `target`
    [n,2], in least squares and without mirroring (Umeyama, 1991)."""
    a, b = (np.asarray(p, float) for p in (source, target))
    a0, b0 = a.mean(axis=0), b.mean(axis=0)
    x, y = ((a - a0) @ (1, 1j), (b - b0) @ (1, 1j))  # turning and scaling is a complex factor
    factor = np.vdot(x, y) / np.vdot(x, x).real
    scale, angle = abs(factor), math.atan2(factor.imag, factor.real)
    turned = a0 @ (1, 1j) * factor
    return scale, angle, b0 - (turned.real, turned.imag)


def frame_of(points: ArrayLike) -> TurnedWindow:
    """The TurnedWindow of a photo in which a face with these five points (detector.Face) lies as
    the training pictures have it."""
    scale, angle, shift = similarity(TEMPLATE, points)
    middle = np.array([0.5, 0.5]) @ (1, 1j) * scale * complex(math.cos(angle), math.sin(angle))
    return TurnedWindow(
        float(shift[0] + middle.real), float(shift[1] + middle.imag), float(scale), float(angle)
    )
