"""Many photos at once: files or zips in, one zip out, through the same code as the command line."""

import shutil
import zipfile
from functools import partial
from pathlib import Path

from PIL import Image

from inpaint_hub import folders
from inpaint_hub.demo.photos import MAX_PIXELS, Refusal
from inpaint_hub.formats import openable_endings

MAX_FILES = 200
MAX_UNPACKED_BYTES = 1_000_000_000


def gathered(paths, folder):
    """Copies uploaded files, and the pictures inside zips, into one folder; returns it.

    Raises: Refusal for too many or too large ones, for two of the same name, or for none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    room = MAX_UNPACKED_BYTES
    for path in map(Path, paths or []):
        if path.suffix.lower() != ".zip":
            _put(folder, path.name, partial(shutil.copyfile, path))
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    name = Path(entry.filename.replace("\\", "/")).name
                    if entry.is_dir() or name.startswith(".") or not _is_picture(name):
                        continue
                    room -= entry.file_size
                    if room < 0:
                        raise Refusal(
                            f"“{path.name}” unpacks to more than {MAX_UNPACKED_BYTES // 10**9} GB: "
                            "send it in parts."
                        )
                    _put(folder, name, partial(_unpack, archive, entry))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise Refusal(f"“{path.name}” is no zip that can be read ({error}).") from error
    return folder


def _is_picture(name):
    return Path(name).suffix.lower() in openable_endings()


def _put(folder, name, write):
    if len(list(folder.iterdir())) >= MAX_FILES:
        raise Refusal(f"More than {MAX_FILES} files: send them in parts.")
    target = folder / name
    if target.exists():
        raise Refusal(f"Two files are named “{name}”: rename one of them.")
    write(target)


def _unpack(archive, entry, target):
    """At most as many bytes as the zip's list says, whatever its data unpack to."""
    left = entry.file_size
    with archive.open(entry) as source, open(target, "wb") as file:
        while left > 0 and (block := source.read(min(left, 1 << 20))):
            file.write(block)
            left -= len(block)


def jobs_of(photos, masks, target):
    """(Jobs of inpaint_hub.folders, sentences about files that are no pictures): one mask for all,
    or for each photo the one of its name, or of its name and "_mask".

    Raises: Refusal without photos or masks.
    """
    notes = [f"{p.name}: no picture" for p in _files(photos) if not folders.is_picture(p)]
    if len(notes) == len(_files(photos)):
        raise Refusal("\n".join(["There is no photo yet: add some, or a zip of them.", *notes]))
    found = [path for path in _files(masks) if folders.is_picture(path)]
    if not found:
        raise Refusal("There is no mask yet: add one for all photos, or one of each photo's name.")
    if len(found) > 1:
        _named_as_photos(found, {folders.as_read(path.stem) for path in _files(photos)})
    jobs, _ = folders.jobs_of(photos, found[0] if len(found) == 1 else masks, target)
    return [j._replace(target=target / f"{j.target.stem}_filled.png") for j in jobs], notes


def _files(folder):
    return sorted(path for path in folder.iterdir() if path.is_file())


def _named_as_photos(masks, stems):
    """Take "_mask" off the masks' names where that makes them a photo's."""
    for mask in masks:
        stem = mask.stem.removesuffix("_mask")
        target = mask.with_name(stem + mask.suffix)
        if folders.as_read(stem) in stems and not target.exists():
            mask.rename(target)


def too_large(jobs):
    """(jobs to do, sentences about those whose photo exceeds the page's limit)."""
    small, notes = [], []
    for job in jobs:
        try:
            with Image.open(job.picture) as image:
                pixels = image.width * image.height
        except Exception:  # it fails by name when its turn comes
            pixels = 0
        if pixels > MAX_PIXELS:
            notes.append(
                f"{job.picture.name}: {pixels / 1e6:.0f} megapixels, more than this page takes"
            )
        else:
            small.append(job)
    return small, notes


def zipped(folder, path, notes):
    """All files of the folder in one zip (stored: pictures do not shrink), and what went wrong."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
        if notes:
            archive.writestr("not_filled.txt", "\n".join(notes) + "\n")
    return path


def nameless(note, work):
    """A sentence about a file without the folder it lies in."""
    for part in ("photos", "masks", "filled"):
        note = note.replace(f"{work / part}/", "")
    return note
