"""Faces inside whole photos: the pairs are aligned faces, what is filled are photos that hold them.

Each face is put into a photo by the inverse of the alignment, at a place, size and angle drawn by
(seed, index); the method fills the photo, and what it made is aligned again and judged as a face.
"""

import numpy as np
from PIL import Image

from inpaint_hub.crops import OwnWindow, TurnedWindow, cut, enlarge, inside, window_slices
from inpaint_hub.images import read_images
from inpaint_hub.pipelines.router import AutoInpaintPipeline

SIZES = (0.3, 0.6)  # side of a face's square in shares of the photo's
LARGEST_ANGLE = 30  # degrees
BY_HAND = "by-hand"


def place_of(seed, index, num_photos, side):
    """(photo's index, TurnedWindow inside it) for face `index`; side: the photos', in px."""
    rng = np.random.default_rng((seed, index))
    photo, length = int(rng.integers(num_photos)), rng.uniform(*SIZES) * side
    angle = np.deg2rad(rng.uniform(-LARGEST_ANGLE, LARGEST_ANGLE))
    reach = length / 2 * (abs(np.cos(angle)) + abs(np.sin(angle)))
    x, y = rng.uniform(reach, side - reach, 2)
    return photo, TurnedWindow(float(x), float(y), float(length), float(angle))


def inserted(photo, face, window):
    """uint8 [H,W,3]: the photo with a face, uint8 [s,s,3], in a TurnedWindow."""
    part = window_slices(window, photo.shape)
    shown = enlarge(face.astype(np.float32), window, part)
    result, covered = photo.copy(), inside(window, part)
    result[part][covered] = np.clip(np.rint(shown[covered]), 0, 255).astype(np.uint8)
    return result


def hole_in_photo(mask, window, shape):
    """bool [H,W] of a photo: where the hole of a face, bool [s,s], comes to lie."""
    part = window_slices(window, shape)
    y, x = np.mgrid[part[0], part[1]] + 0.5
    places = np.floor(window.from_picture(np.stack([x, y], axis=-1)) * len(mask)).astype(int)
    near = np.clip(places, 0, len(mask) - 1)
    hole = np.zeros(shape[:2], bool)
    hole[part] = mask[near[..., 1], near[..., 0]] & inside(window, part)
    return hole


class InPhotos:
    """A method (see evaluation.methods) that is given faces and fills photos that hold them."""

    def __init__(self, method, photos, seed=0):
        self.method, self.photos, self.seed = method, photos, seed
        self.name, self.kind = method.name, method.kind

    def identity(self, band, index):
        where = f"in photos of {self.photos.resolution} px, seed {self.seed}"
        return f"{self.method.identity(band, index)} {where}"

    def problems(self, band, pairs, num_samples=1):
        return self.method.problems(band, pairs, num_samples)

    def fill(self, originals, masks, band, indices):
        pictures, holes, windows = self._photos_with(originals, masks, indices)
        self._tell_frames(windows)
        filled, seconds = self.method.fill(pictures, holes, band, indices)
        return self._aligned(filled, windows, originals), seconds

    def samples(self, originals, masks, band, indices, count):
        pictures, holes, windows = self._photos_with(originals, masks, indices)
        self._tell_frames(windows)
        filled = self.method.samples(pictures, holes, band, indices, count)
        if filled is None:
            return None
        return [
            self._aligned(several, [window] * count, [face] * count)
            for several, window, face in zip(filled, windows, originals)
        ]

    def _photos_with(self, faces, masks, indices):
        pictures, holes, windows = [], [], []
        for face, mask, index in zip(faces, masks, indices):
            photo, window = place_of(self.seed, index, len(self.photos), self.photos.resolution)
            pictures.append(inserted(self.photos.load(photo), face, window))
            holes.append(hole_in_photo(mask, window, pictures[-1].shape))
            windows.append(window)
        return pictures, holes, windows

    def _tell_frames(self, windows):
        if isinstance(self.method, AlignedByHand):
            self.method.frames = windows

    @staticmethod
    def _aligned(filled, windows, faces):
        return [
            cut(np.asarray(picture), window, len(face))
            for picture, window, face in zip(filled, windows, faces)
        ]


class AlignedByHand:
    """What a model of faces makes of photos whose faces' true frames it is told (`frames`): what
    finding them can at most reach."""

    kind = "pipeline"

    def __init__(self, method):
        self.method, self.pipe = method, method.pipe.faces
        self.name, self.frames = f"{method.name}-{BY_HAND}", None

    def identity(self, band, index):
        return f"{self.method.identity(band, index)} {BY_HAND}"

    def problems(self, band, pairs, num_samples=1):
        return []

    def samples(self, originals, masks, band, indices, count):
        return None

    def fill(self, originals, masks, band, indices):
        pictures = read_images([Image.fromarray(pixels) for pixels in originals])
        windows = []
        for k, frame in enumerate(self.frames):
            part = window_slices(frame, masks[k].shape)
            windows.append((k, OwnWindow(frame, masks[k][part])))
        prepared = self.pipe.prepare(pictures, masks, windows)
        made = self.pipe.answer(prepared)["generated"]
        blend = self.method.blend or self.method.pipe.default_blend
        fills = self.pipe.fills(prepared, made, blend=blend, texture="detail")
        return [np.asarray(p.fill(*fill)) for p, fill in zip(pictures, fills)], None


def in_photos(methods, photos, seed=0):
    """The methods, given faces in photos; beside each pipeline that finds faces, its own model of
    faces told where they are."""
    told = []
    for method in methods:
        told.append(InPhotos(method, photos, seed))
        if isinstance(getattr(method, "pipe", None), AutoInpaintPipeline):
            told.append(InPhotos(AlignedByHand(method), photos, seed))
    return told
