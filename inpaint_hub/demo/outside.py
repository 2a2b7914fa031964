"""The photo made larger: amounts in percent of its sides, and which weights do it."""

from PIL import ImageOps

from inpaint_hub import provenance
from inpaint_hub.demo import zero_gpu
from inpaint_hub.demo.filling import options_for
from inpaint_hub.demo.photos import Refusal, check_budget, check_size
from inpaint_hub.outpainting import outpaint

STATEMENT = (
    "Whose weights: for “Automatic” (outside faces) and “Photos” those of "
    "`weights/outpainting-128`, trained on borders alone, with the photo's own texture; else "
    "those of the model chosen in the first tab."
)


def pixels(size, percent):
    """(left, top, right, bottom) in px from percent of the width or height.

    Raises: Refusal for amounts outside 0 to 100, all 0, or a picture that gets too large.
    """
    try:
        left, top, right, bottom = (float(value) for value in percent)
    except (TypeError, ValueError) as error:
        raise Refusal("An amount is empty: give percents from 0 to 100.") from error
    if not all(0 <= value <= 100 for value in (left, top, right, bottom)):
        raise Refusal("Amounts are percents from 0 to 100.")
    width, height = size
    border = (
        round(width * left / 100),
        round(height * top / 100),
        round(width * right / 100),
        round(height * bottom / 100),
    )
    if not any(border):
        raise Refusal("All four sides are at 0 %: move one of them up.")
    larger = width + border[0] + border[2], height + border[1] + border[3]
    check_size(larger, "The extended photo")
    check_budget(larger, 1)
    return border


def extended(pipe, image, percent, settings, progress):
    """(picture, notes): see inpaint_hub.outpainting."""
    border = pixels(image.size, percent)
    options = options_for(settings)
    try:
        picture = outpaint(
            zero_gpu.lent_pipeline(pipe),
            image,
            *border,
            on_strip=lambda done, count: progress(done, count),
            **options,
        )
    except (TypeError, ValueError) as error:
        raise Refusal(str(error)) from error
    share = 1 - image.width * image.height / (picture.width * picture.height)
    notes = provenance.describe(pipe, coverage=share, outpainted=list(border), **options)
    return picture, notes


def framed(image, size, percent):
    """The photo in the middle of the larger picture, gray where it was not."""
    left, top, right, bottom = pixels(image.size, percent)
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    gray = 127 if image.mode == "L" else (127, 127, 127)
    return ImageOps.expand(image, (left, top, right, bottom), fill=gray)
