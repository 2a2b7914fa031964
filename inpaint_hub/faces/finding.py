"""Faces of a photo of any size, at the cost of a small one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from inpaint_hub.crops import context_windows, window_slices
from inpaint_hub.faces.detector import CONTAINED, Face, FaceDetector, suppressed

MIN_FACE_PX = 24  # smaller ones are passed over: four pixels between the eyes are not a face
SEARCH_PX = 640  # the long side of what is searched; faces below a fortieth of it are not found
SMALLEST_PX = 16  # on what is searched
AT_ONCE = 2  # searches side by side: each is many small steps, which no core splits well
MOST_CLOSE_LOOKS = 8  # places around holes that are searched again at a finer scale


def find_faces(
    detector: FaceDetector, pixels: np.ndarray, hole: np.ndarray | None = None
) -> list[Face]:
    """[Face] of a photo, uint8 [H,W,3], the surest first, those below MIN_FACE_PX included.

    The photo is searched at SEARCH_PX. Given a hole, bool [H,W], a larger photo is also searched
    around it, where faces too small for the first look may touch it.
    """
    height, width = pixels.shape[:2]
    parts = [(slice(0, height), slice(0, width))]
    if hole is not None and hole.any() and max(height, width) > SEARCH_PX:
        missed = SMALLEST_PX * max(height, width) / SEARCH_PX  # faces the first look cannot see
        windows = context_windows(hole, 0.5, round(8 * missed))
        for window, _ in windows[:MOST_CLOSE_LOOKS]:
            if window.side < max(height, width):
                parts.append(window_slices(window, hole.shape))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        each = pool.map(lambda part: _searched(detector, pixels, part), parts)
        found = [face for faces in each for face in faces]
    found.sort(key=lambda face: -face.score)
    boxes = np.array([face.box for face in found]).reshape(-1, 4)
    scores = np.array([face.score for face in found])
    return [found[i] for i in suppressed(boxes, scores, CONTAINED, of_the_smaller=True)]


def _searched(detector: FaceDetector, pixels: np.ndarray, part: tuple[slice, slice]) -> list[Face]:
    """[Face] of the (rows, columns) slices, in px of the photo."""
    rows, columns = part
    seen = Image.fromarray(pixels[part])
    scale = min(SEARCH_PX / max(seen.size), 1)
    if scale < 1:
        size = [max(round(side * scale), 1) for side in seen.size]
        seen = seen.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
    faces = detector(np.array(seen), SMALLEST_PX)
    return [face.moved(1 / scale, columns.start, rows.start) for face in faces]
