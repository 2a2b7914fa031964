"""Many photos at once: files or zips in, one zip out, through the same code as the command line."""

import shutil
import zipfile
from functools import partial
from pathlib import Path

from PIL import Image

from inpaint_hub import folders
from inpaint_hub.demo.photos import MAX_PIXELS, Refusal

MAX_FILES = 200
MAX_UNPACKED_BYTES = 1_000_000_000
ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".avif"}


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
    return Path(name).suffix.lower() in ENDINGS


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
    """Jobs of inpaint_hub.folders: one mask for all, or for each photo the one of its name.

    Raises: Refusal without photos or masks.
    """
    pictures = sorted(p for p in photos.iterdir() if _is_picture(p.name))
    if not pictures:
        raise Refusal("There is no photo yet: add some, or a zip of them.")
    found = sorted(p for p in masks.iterdir() if _is_picture(p.name))
    if not found:
        raise Refusal("There is no mask yet: add one for all photos, or one of each photo's name.")
    jobs = []
    stems = [p.stem for p in pictures]
    for picture in pictures:
        mask = found[0] if len(found) == 1 else _mask_of(picture, found)
        name = picture.stem if stems.count(picture.stem) == 1 else picture.name
        jobs.append(folders.Job(picture, mask, target / f"{name}_filled.png"))
    return jobs


def _mask_of(picture, masks):
    """The mask of the same file name, else of the same stem; None without one.

    Raises: Refusal where two fit.
    """
    same = [m for m in masks if m.name == picture.name]
    same = same or [m for m in masks if m.stem in (picture.stem, f"{picture.stem}_mask")]
    if len(same) > 1:
        names = " and ".join(m.name for m in same)
        raise Refusal(f"Both {names} fit “{picture.name}”: keep one of them.")
    return same[0] if same else None


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


def fill_all(pipe, jobs, options, seed, progress, invert_mask=False):
    """folders.fill_files, with progress(files done, files in all)."""
    done = 0

    def one_more(count):
        nonlocal done
        done += count
        progress(done, len(jobs))

    return folders.fill_files(
        pipe,
        jobs,
        batch_size=4,
        invert_mask=invert_mask,
        seed=seed,
        options=options,
        done=one_more,
    )


def zipped(folder, path, notes):
    """All files of the folder in one zip (stored: pictures do not shrink), and what went wrong."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
        if notes:
            archive.writestr("not_filled.txt", "\n".join(notes) + "\n")
    return path
