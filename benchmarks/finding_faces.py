"""How many faces are found, and how near their frames are to the true ones.

    python -m benchmarks.finding_faces --faces DIR --photos DIR [--num_images 30]

Aligned faces (validation) are put into the middle of photos of 320 px (validation), at several
sizes and angles, to the left and right in turn. Prints a table.
"""

import argparse
import math

import numpy as np

from inpaint_hub.bundled import weights_folder
from inpaint_hub.crops import TurnedWindow
from inpaint_hub.data import ImageDataset
from inpaint_hub.evaluation.faces_in_photos import inserted
from inpaint_hub.faces import FaceDetector, find_faces, frame_of

SIDES_PX, DEGREES, PHOTO_PX = (40, 64, 128, 220), (0, 15, 30, 45), 320
NEAR = 0.25  # of the side: a face farther off is another


def measured(detector, faces, photos, side, degrees, count):
    """(number found, float [n,3]: middle and size in shares of the side, angle in degrees)."""
    errors = []
    for index in range(count):
        angle = math.radians(degrees if index % 2 else -degrees)
        window = TurnedWindow(PHOTO_PX / 2, PHOTO_PX / 2, side, angle)
        photo = inserted(photos.load(index % len(photos)), faces.load(index), window)
        for face in find_faces(detector, photo):
            frame = frame_of(face.points)
            off = math.dist(frame[:2], window[:2]) / side
            if off < NEAR:
                turned = abs(math.degrees(frame.angle - window.angle))
                errors.append((off, abs(frame.side / side - 1), turned))
                break
    return len(errors), np.array(errors).reshape(-1, 3)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", required=True, help="data set of aligned faces")
    parser.add_argument("--photos", required=True, help="data set of photos")
    parser.add_argument("--num_images", type=int, default=30)
    arguments = parser.parse_args(argv)
    faces = ImageDataset(arguments.faces, "validation", 256)
    photos = ImageDataset(arguments.photos, "validation", PHOTO_PX)
    detector = FaceDetector.from_pretrained(weights_folder("face-detector"))
    print("| turned by | found | middle off, % of the side | size, % | angle, degrees |")
    print("| --- | --- | --- | --- | --- |")
    for degrees in DEGREES:
        found, errors = 0, []
        for side in SIDES_PX:
            number, of_side = measured(detector, faces, photos, side, degrees, arguments.num_images)
            found, errors = found + number, [*errors, of_side]
        middle, size, angle = np.median(np.concatenate(errors), axis=0)
        total = len(SIDES_PX) * arguments.num_images
        print(
            f"| {degrees} degrees | {found} of {total} | {100 * middle:.1f} | {100 * size:.1f} | "
            f"{angle:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
