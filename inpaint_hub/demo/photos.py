"""A visitor's photos on disk: read by the contract of inpaint_hub.images, shown reduced, written
exactly.

Nothing here knows gradio. What a visitor can be told is raised as Refusal.
"""

import io
import re
import shutil
import tempfile
import uuid
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from inpaint_hub import provenance
from inpaint_hub.formats import open_picture
from inpaint_hub.images import read_images, read_masks

MAX_PIXELS = 50_000_000  # a 48 megapixel phone's photo; RGB at 3 bytes each is 150 MB
RESULT_PIXELS = 64_000_000  # of all results of one request together
PREVIEW_SIDE_PX = 2048  # of what the editor shows; a mask is drawn at this size, too
SHOWN_PIXELS = 16_000_000  # larger results are shown reduced, and downloaded as they are
BROWSER_MODES = ("L", "LA", "RGB", "RGBA", "P", "1")  # that a PNG holds and a browser shows right
PNG_MODES = (*BROWSER_MODES, "I;16")
PNG_LEVEL = 1  # of zlib: half the time of the default 6, files a tenth larger
PNG_RUNS = 3  # zlib's Z_RLE, runs alone: of photos, a quarter faster and an eighth smaller
KEPT_STEPS = 20  # of a visitor's history


class Refusal(ValueError):
    """What cannot be done, and what the visitor can do instead."""


@dataclass
class Photo:
    """A photo as it lies on disk: path, name the visitor gave it, (width, height) upright, and a
    file a browser can show."""

    path: Path
    name: str
    size: tuple
    shown: Path
    note: str = ""

    @property
    def stem(self):
        """The name without its ending, safe in any file system."""
        return re.sub(r"[^\w.-]+", "_", Path(self.name).stem)[:80].strip("._") or "photo"


@dataclass
class Step:
    """One fill: the photo it began from, the hole, the results' files and what they show."""

    photo: Photo
    mask: Path
    results: list
    shown: list
    captions: list
    summary: str
    chosen: int = 0
    method_files: list = field(default_factory=list)


class Visit:
    """What one visitor has on the page: a folder of their own, the photo, and the steps so far."""

    def __init__(self, root):
        self.folder = Path(root) / uuid.uuid4().hex
        self.folder.mkdir(parents=True)
        self.photo = None
        self.photo_id = None  # of the photo in the editor, new each time one is shown
        self.filled = None  # (photo's id, changes of its mask) when a fill was last asked for
        self.requests = 0  # for something to be shown
        self.steps = []
        self.current = None  # index into steps
        self.draft = None  # a Step that is on show and not kept
        self.compared = None  # (what the slider shows before, files of the methods compared)
        self.serial = 0

    def __deepcopy__(self, memo):
        return self  # gradio copies the state's first value, which is None; never a visit

    def new_file(self, name):
        """A path of that name in a folder of its own."""
        folder = self.folder / uuid.uuid4().hex[:12]
        folder.mkdir(parents=True)
        return folder / name

    def step(self):
        """The step on show, or None."""
        if self.draft is not None:
            return self.draft
        return None if self.current is None else self.steps[self.current]

    def asked(self, value=None):
        """Something is to be shown that no draft begun before may cover; value: the editor's, where
        that is a fill of its mask."""
        self.requests += 1
        if value is not None:
            self.filled = value.get("id"), value.get("changes") or 0

    def wants_draft(self, value):
        """Whether a draft of what the editor sent is still of use: drafts are on, and the mask is
        of this photo and was changed since it was last filled."""
        value = value or {}
        photo_id, changes = value.get("id"), value.get("changes") or 0
        if not (value.get("mask") and value.get("live") and photo_id == self.photo_id):
            return False
        return self.filled is None or self.filled[0] != photo_id or changes > self.filled[1]

    def show_draft(self, step):
        """Show a step that the next one replaces."""
        if self.draft is not None and self.draft.results[0] != self.photo.path:
            self.forget(self.draft)
        self.draft = step

    def forget(self, step):
        """Delete a step's results."""
        for path in step.results:
            shutil.rmtree(path.parent, ignore_errors=True)

    def back_to(self, index):
        """Show an earlier step; returns it."""
        self.current, self.draft = index, None
        return self.steps[index]

    def add(self, step):
        """Show a new step; the oldest ones go, with their files."""
        self.steps.append(step)
        self.draft = None
        while len(self.steps) > KEPT_STEPS:
            gone = self.steps.pop(0)
            kept = {p for s in self.steps for p in (s.photo.path, s.photo.shown)}
            for path in {gone.mask, *gone.results, *gone.shown} - kept:
                shutil.rmtree(path.parent, ignore_errors=True)
        self.current = len(self.steps) - 1

    def close(self):
        """Delete all files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def visits_folder():
    """Where the visits' folders lie: a new folder that only this user can read."""
    return Path(tempfile.mkdtemp(prefix="inpaint_hub_"))


def opened(path, name="the picture"):
    """The decoded picture of a file, upright, as inpaint_hub.formats reads it; 16-bit color as 8.

    Raises: Refusal for what cannot be read, or has too many pixels.
    """
    try:
        with Image.open(path) as image:
            check_size(image.size, name)
        picture = open_picture(path)
    except Refusal:
        raise
    except Exception as error:  # Pillow's plugins raise a dozen classes for what they cannot read
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(";")[0]
        reason = reason.replace(str(path), name).replace(repr(str(path)), name)[:160]
        raise Refusal(
            f"{name} cannot be read as a picture ({reason}). Save it again as .jpg or .png with "
            "another program, then upload it."
        ) from error
    height, width = picture.pixels.shape[:2]
    made = picture.fill(np.zeros((1, 1, 3), np.float32), np.zeros((height, width), bool))
    return made if isinstance(made, Image.Image) else Image.fromarray(picture.pixels)


def check_size(size, name="the picture"):
    """Raises: Refusal for more than MAX_PIXELS."""
    pixels = size[0] * size[1]
    if pixels > MAX_PIXELS:
        raise Refusal(
            f"{name} is {size[0]} x {size[1]} px ({pixels / 1e6:.0f} megapixels); this page takes "
            f"up to {MAX_PIXELS / 1e6:.0f}. Reduce it, or use python -m inpaint_hub, which has no "
            "limit."
        )


def check_budget(size, results):
    """Raises: Refusal for more pixels times results than RESULT_PIXELS."""
    pixels = size[0] * size[1]
    if pixels * results > max(RESULT_PIXELS, pixels):
        most = max(1, RESULT_PIXELS // pixels)
        raise Refusal(
            f"{results} results of {pixels / 1e6:.1f} megapixels are more than one request may "
            f"take ({RESULT_PIXELS / 1e6:.0f} megapixels in all): ask for at most {most} at a time."
        )


def seen(image):
    """A picture of any mode as 8-bit RGB, by the contract of inpaint_hub.images."""
    try:
        return Image.fromarray(read_images(image)[0].pixels)
    except (TypeError, ValueError) as error:
        raise Refusal(str(error)) from error


def reduced(image, side):
    """The picture with its longer side at most `side`."""
    if max(image.size) <= side:
        return image
    factor = side / max(image.size)
    size = tuple(max(1, round(length * factor)) for length in image.size)
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def for_browser(image):
    """The picture as a browser shows it right: itself, or 8-bit RGB without a foreign profile."""
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image
    if image.mode in ("P", "1", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return seen(image)


def data_url(image, file_format="JPEG", **options):
    """A picture inside a URL, as an editor or a page can show it."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    kind = file_format.lower()
    return f"data:image/{kind};base64,{b64encode(buffer.getvalue()).decode('ascii')}"


def preview_url(image):
    """The photo, reduced, for the editor."""
    small = for_browser(reduced(image, PREVIEW_SIDE_PX))
    if small.mode in ("LA", "RGBA"):
        return data_url(small, "PNG", compress_level=PNG_LEVEL)
    return data_url(small.convert("RGB"), "JPEG", quality=92)


def accept(visit, path, name):
    """The photo of an uploaded file, copied into the visit; returns (Photo, decoded picture).

    Raises: Refusal with what to do instead.
    """
    image = opened(path, f"“{name}”" if name else "the picture")
    target = visit.new_file("original" + Path(name or "photo.png").suffix.lower()[:8])
    shutil.copyfile(path, target)
    return _photo_of(visit, image, target, name or "photo"), image


def from_result(visit, path, stem):
    """A result's file as the next photo; returns (Photo, decoded picture)."""
    image = opened(path, "the result")
    return Photo(path, f"{stem}{path.suffix}", image.size, path, sentence(image)), image


def _photo_of(visit, image, path, name):
    with Image.open(path) as file:
        plain = file.format in ("JPEG", "PNG", "WEBP") and image.mode in BROWSER_MODES
    shown = path
    if not plain or image.width * image.height > SHOWN_PIXELS:
        shown = visit.new_file("shown.png")
        write_png(for_browser(reduced_to(image, SHOWN_PIXELS)), shown, {})
    return Photo(path, name, image.size, shown, sentence(image))


def reduced_to(image, pixels):
    """The picture with at most so many pixels."""
    if image.width * image.height <= pixels:
        return image
    return reduced(image, int(max(image.size) * (pixels / (image.width * image.height)) ** 0.5))


def sentence(image):
    """What the page says of a photo as soon as it is there."""
    pixels = image.width * image.height
    text = f"{image.width} × {image.height} px"
    if pixels >= 2_000_000:
        text += f", {pixels / 1e6:.0f} megapixels"
    most = max(1, RESULT_PIXELS // pixels)
    text += "; filled at this size"
    if most < 8:
        text += f", up to {most} result{'s' if most > 1 else ''} at a time"
    if pixels > SHOWN_PIXELS:
        text += "; shown reduced"
    if image.mode in ("CMYK", "LAB", "F", "YCbCr", "HSV"):
        text += f". Shown as 8-bit RGB; the download keeps {image.mode}"
    elif image.mode.startswith("I"):
        text += ". Its fill has 8 bits, the rest keeps its own"
    return text + "."


def mask_from_url(url, size):
    """bool [H,W] at `size` from the editor's PNG, opaque where to fill.

    Raises: Refusal without a photo or a stroke, or for anything that is no such PNG.
    """
    if not url:
        raise Refusal("There is no photo yet: upload one first.")
    head, _, data = str(url).partition(",")
    try:
        if head != "data:image/png;base64":
            raise ValueError("no PNG")
        with Image.open(io.BytesIO(b64decode(data, validate=True)), formats=["PNG"]) as image:
            check_size(image.size, "the mask")
            alpha = image.convert("RGBA").getchannel("A")
    except Refusal:
        raise
    except Exception as error:
        raise Refusal("The mask did not arrive whole: press Fill again.") from error
    if alpha.size != tuple(size):
        alpha = alpha.resize(size, Image.Resampling.BILINEAR)
    hole = np.asarray(alpha) >= 128
    if not hole.any():
        raise Refusal("Nothing is painted yet: draw over the part that should be filled.")
    return hole


def mask_from_file(path, image):
    """bool [H,W] from a mask's file, white (or opaque) = fill, for the picture.

    Raises: Refusal for what is no mask, or selects nothing.
    """
    mask = opened(path, "the mask")
    try:
        hole = read_masks(mask, read_images(image))[0]
    except (TypeError, ValueError) as error:
        raise Refusal(str(error)) from error
    if not hole.any():
        raise Refusal(
            "The mask has no white: its white part is filled. Paint white over what should go, or "
            "invert the mask."
        )
    return hole


def mask_picture(hole):
    """bool [H,W] -> PIL, white = fill."""
    return Image.fromarray(hole.astype(np.uint8) * 255)


def write_png(image, path, notes):
    """A PNG at a fast level, with its notes, EXIF and whatever profile fits its mode."""
    options = provenance.save_options(notes, "PNG") if notes else {}
    exif = image.getexif()
    if exif:
        options["exif"] = exif
    profile = image.info.get("icc_profile")
    if profile and not fits(profile, image.mode):
        profile = None
    options |= {"compress_level": PNG_LEVEL, "compress_type": PNG_RUNS}
    image.save(path, "PNG", icc_profile=profile, **options)


def fits(profile, mode):
    """Whether an ICC profile's color space (bytes 16 to 19 of its header) is that of the mode."""
    space = profile[16:20].strip()
    wanted = {"L": b"GRAY", "LA": b"GRAY", "I;16": b"GRAY", "CMYK": b"CMYK", "LAB": b"Lab"}
    return space == wanted.get(mode, b"RGB")


def write_result(image, visit, name, notes):
    """(file to download, file to show) of a result: one and the same where a browser can show it.

    Modes that no PNG holds become .tif, and an 8-bit PNG to look at.
    """
    if image.mode in PNG_MODES:
        path = visit.new_file(f"{name}.png")
        write_png(image, path, notes)
    else:
        path = visit.new_file(f"{name}.tif")
        profile = image.info.get("icc_profile")
        image.save(path, icc_profile=profile, **provenance.save_options(notes, "TIFF"))
    if image.mode in BROWSER_MODES and image.width * image.height <= SHOWN_PIXELS:
        return path, path
    shown = path.with_name(f"{name}_shown.png")
    write_png(for_browser(reduced_to(image, SHOWN_PIXELS)), shown, notes)
    return path, shown


def converted(path, file_format, quality=95):
    """The result's file again as JPEG or WebP, for those who want that rather than exactness."""
    if file_format == "PNG":
        return path
    image = opened(path, "the result")
    with Image.open(path) as file:
        notes = provenance.read(file) or {}
    endings = {"JPEG": ".jpg", "WEBP": ".webp"}
    target = path.with_suffix(endings[file_format])
    if not target.is_file():
        flat = for_browser(image)
        if file_format == "JPEG" and flat.mode not in ("L", "RGB"):
            flat = seen(flat)
        options = provenance.save_options(notes, file_format, exif=image.getexif())
        flat.save(target, file_format, quality=quality, **options)
    return target
