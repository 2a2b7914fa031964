"""The examples: photo, mask and what comes of them, one click each."""

import threading
from typing import NamedTuple

from PIL import Image

from inpaint_hub.bundled import example_file
from inpaint_hub.demo.filling import Settings, fill
from inpaint_hub.demo.photos import accept, data_url, mask_from_file, opened, reduced, write_result
from inpaint_hub.images import read_images, read_masks


class Example(NamedTuple):
    """title, and the files of the photo and its mask."""

    title: str
    photo: str
    mask: str


EXAMPLES = (
    Example("A face: an eye and the mouth", "face.png", "face_mask.png"),
    Example("A face in a whole photo", "astronaut.png", "astronaut_mask.png"),
    Example("A mast out of a landscape", "rocket.jpg", "rocket_mask.png"),
)


class Shelf:
    """The examples' results by the default model, each made once and kept."""

    def __init__(self, models, folder):
        self.models, self.folder = models, folder
        self.results, self.lock = {}, threading.Lock()

    def result(self, index):
        """Result of an example; computed on the first call."""
        with self.lock:
            if index not in self.results:
                example = EXAMPLES[index]
                image = opened(example_file(example.photo))
                hole = mask_from_file(example_file(example.mask), image)
                self.results[index] = next(fill(self.models.get(), image, hole, Settings()))
            return self.results[index]

    def warm_up(self):
        """Compute all, as in the background after the start."""
        for index in range(len(EXAMPLES)):
            self.result(index)

    def open(self, visit, index):
        """(Photo, decoded picture, hole, (file, file to show), Result) in a visit's folder."""
        example = EXAMPLES[index]
        photo, image = accept(visit, example_file(example.photo), example.photo)
        hole = mask_from_file(example_file(example.mask), image)
        result = self.result(index)
        files = write_result(result.image, visit, f"{photo.stem}_filled", result.notes)
        return photo, image, hole, files, result


def thumbnails():
    """[(title, data URL)]: the photos with their holes in red."""
    shown = []
    for example in EXAMPLES:
        with Image.open(example_file(example.photo)) as photo:
            photo = photo.convert("RGB")
        with Image.open(example_file(example.mask)) as mask:
            hole = read_masks(mask, read_images(photo))[0]
        red = Image.blend(photo, Image.new("RGB", photo.size, (255, 23, 68)), 0.6)
        photo.paste(red, mask=Image.fromarray(hole))
        shown.append((example.title, data_url(reduced(photo, 360), "JPEG", quality=85)))
    return shown
