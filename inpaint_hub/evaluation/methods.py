"""What can be judged: pipelines, classical fillers, and other programs' pictures in a folder.

A method has `name` and `kind`; `fill(originals, masks, band, indices)` -> (uint8 [s,s,3] each,
seconds per picture or None); `samples(..., count)` -> `count` varied fills of each picture, or None
where it has none; `identity(band, index)`, which changes with what would come out; and
`problems(band, pairs, num_samples)`, a line about each thing wrong with what it needs. `band` is
the band's folder name (see pairs.slug).
"""

import hashlib
import json
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inpaint_hub import __version__
from inpaint_hub.evaluation.classical import version_of
from inpaint_hub.evaluation.pairs import file_name
from inpaint_hub.formats import open_picture
from inpaint_hub.texture import engine_problem, engine_version

ENDINGS = (".png", ".webp", ".bmp", ".jpg", ".jpeg")
EIGHT_BIT_MODES = ("RGB", "RGBA", "RGBX", "L", "LA", "P", "1")


class PipelineMethod:
    """An inpainting pipeline of this package.

    The judged fill has constant noise and no variation; a method that starts from random numbers
    (a search) gets a generator drawn by (seed, band, index), so that neither the batch nor the
    order decides.
    """

    kind = "pipeline"

    def __init__(self, name, pipe, seed=0, variation=0.0, blend=None, texture=None):
        self.name, self.pipe, self.seed, self.variation = name, pipe, seed, variation
        self.blend, self.texture = blend, texture
        self.digest = pipeline_digest(pipe)

    def identity(self, band, index):
        blended = f" blend {self.blend}" if self.blend else ""
        blended += (
            f" texture {self.texture} {engine_problem() or engine_version()}"
            if self.texture
            else ""
        )
        return f"pipeline {self.digest} seed {self.seed} variation {self.variation}{blended}"

    def problems(self, band, pairs, num_samples=1):
        return []

    def fill(self, originals, masks, band, indices):
        generators = self._generators(band, indices, 1)
        start = time.perf_counter()
        filled = self._call(originals, masks, generator=generators, noise_mode="const")
        return filled, (time.perf_counter() - start) / len(filled)

    def samples(self, originals, masks, band, indices, count):
        options = {"num_images_per_prompt": count, "noise_mode": "random"}
        if self.variation:
            options["variation"] = self.variation
        generators = self._generators(band, indices, count, first=1)
        filled = self._call(originals, masks, generator=generators, **options)
        return [filled[k * count : (k + 1) * count] for k in range(len(originals))]

    def _call(self, originals, masks, **options):
        images = [Image.fromarray(p) for p in originals]
        holes = [Image.fromarray(m.astype(np.uint8) * 255) for m in masks]
        options |= {"texture": self.texture} if self.texture else {}
        return [np.asarray(i) for i in self.pipe(images, holes, blend=self.blend, **options).images]

    def _generators(self, band, indices, count, first=0):
        """One generator for each sample; sample 0 is the judged fill's."""
        keys = [
            (self.seed, zlib.crc32(band.encode()), i, first + s)
            for i in indices
            for s in range(count)
        ]
        seeds = [int(np.random.SeedSequence(key).generate_state(1)[0]) for key in keys]
        return [torch.Generator().manual_seed(seed) for seed in seeds]


class ClassicalMethod:
    """A function of (uint8 [s,s,3], bool [s,s]) that learned nothing.

    Raises: ModuleNotFoundError without the library it fills with.
    """

    kind = "classical"

    def __init__(self, name, function):
        self.name, self.function = name, function
        self.version = version_of(function)

    def identity(self, band, index):
        return f"{self.function.__name__} {self.version}"

    def problems(self, band, pairs, num_samples=1):
        return []

    def fill(self, originals, masks, band, indices):
        start = time.perf_counter()
        filled = [self.function(p, m) for p, m in zip(originals, masks)]
        return filled, (time.perf_counter() - start) / len(filled)

    def samples(self, originals, masks, band, indices, count):
        return None


class PredictionFolder:
    """Pictures another program made of exported pairs: folder/<band>/00000.png (or .webp, .bmp,
    .jpg), and, if there is folder/<band>/samples, samples/00000_0.png, 00000_1.png, ... of each.
    """

    kind = "predictions"

    def __init__(self, name, folder):
        self.name, self.folder = name, Path(folder)
        self.listed = {}

    def problems(self, band, pairs, num_samples=1):
        """One line about each picture that is missing, there twice, unreadable or of another size;
        nothing is repaired."""
        side, lines = pairs.pictures.resolution, []
        where = self.folder / band
        if not where.is_dir():
            return [f"{self.name}: folder {where} is missing, expected with {len(pairs)} pictures"]
        stems = [Path(file_name(i)).stem for i in range(len(pairs))]
        if num_samples > 1 and (where / "samples").is_dir():
            stems += [f"samples/{stem}_{s}" for stem in list(stems) for s in range(num_samples)]
        for stem in stems:
            files = self._files(where, stem)
            if len(files) != 1:
                told = "is missing" if not files else f"is there as {[f.name for f in files]}"
                lines.append(f"{self.name}: {where / stem}.png {told}")
                continue
            try:
                with Image.open(files[0]) as image:
                    image.load()
                    size, mode = image.size, image.mode
            except Exception as error:  # Pillow's decoders raise nearly anything
                lines.append(f"{self.name}: {files[0]} cannot be read ({error})")
                continue
            if size != (side, side):
                lines.append(
                    f"{self.name}: {files[0]} is {size[0]}x{size[1]}, expected {side}x{side}"
                )
            if mode not in EIGHT_BIT_MODES:
                lines.append(f"{self.name}: {files[0]} has mode {mode}, expected 8-bit RGB")
        return lines

    def identity(self, band, index):
        where, stem = self.folder / band, Path(file_name(index)).stem
        content = self._files(where, stem)[0].read_bytes()
        for file in sorted((where / "samples").glob(f"{stem}_*")):
            content += file.read_bytes()
        return f"picture {hashlib.sha256(content).hexdigest()}"

    def fill(self, originals, masks, band, indices):
        return [self._read(band, Path(file_name(i)).stem) for i in indices], None

    def samples(self, originals, masks, band, indices, count):
        if not (self.folder / band / "samples").is_dir():
            return None
        return [
            [self._read(band, f"samples/{Path(file_name(i)).stem}_{s}") for s in range(count)]
            for i in indices
        ]

    def _files(self, where, stem):
        """Files of that stem with a picture's ending; folders are listed once."""
        parent = (where / stem).parent
        if parent not in self.listed:
            found = {}
            for file in sorted(parent.iterdir()) if parent.is_dir() else ():
                if file.suffix.lower() in ENDINGS:
                    found.setdefault(file.stem, []).append(file)
            self.listed[parent] = found
        return self.listed[parent].get(Path(stem).name, [])

    def _read(self, band, stem):
        return open_picture(self._files(self.folder / band, stem)[0]).pixels


def pipeline_digest(pipe):
    """Hexadecimal digest of class, configs and weights, wherever they were loaded from, and of the
    package's version."""
    digest = hashlib.sha256(f"{__version__} {type(pipe).__name__}".encode())
    for name, part in sorted(pipe.components.items()):
        if part is None:  # as if it were not named
            continue
        config = {k: v for k, v in getattr(part, "config", {}).items() if not k.startswith("_")}
        digest.update(f"{name} {json.dumps(config, sort_keys=True, default=str)}".encode())
        if hasattr(part, "components"):  # a pipeline of pipelines
            digest.update(pipeline_digest(part).encode())
        if hasattr(part, "state_dict"):
            for key, tensor in sorted(part.state_dict().items()):
                digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
                flat = tensor.detach().cpu().contiguous().reshape(-1)
                digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def split_name(text):
    """("ours", "runs/x") of "ours=runs/x"; (None, text) where no name is given."""
    name, sign, path = text.partition("=")
    if not sign or "/" in name or Path(text).exists():
        return None, text
    return name, path


def distinct_names(paths):
    """Shortest endings that tell the paths apart: a/psp, b/psp; psp alone if nothing else is so.

    Raises: ValueError where one path is given twice.
    """
    parts = [
        Path(path).absolute().parts if Path(path).is_dir() else path.split("/") for path in paths
    ]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    if parts:
        raise ValueError(f"--pipelines is {paths}, expected different ones; name each once")
    return []


def named_paths(texts):
    """[(name, path)] of NAME=PATH or PATH; where only the path is given, its ending is the name.

    Raises: ValueError where one path without a name is given twice.
    """
    split = [split_name(text) for text in texts]
    nameless = iter(distinct_names([path for name, path in split if name is None]))
    return [(next(nameless) if name is None else name, path) for name, path in split]


def name_problems(names):
    """One line about each name that is empty or stands for several methods."""
    lines = [
        f"{n!r} is the name of {names.count(n)} methods"
        for n in sorted(set(names))
        if names.count(n) > 1
    ]
    return lines + ["a method's name is empty" for n in names if not n.strip()]
