"""The windows of one call: what networks see of the pictures, and how their answers fill them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from inpaint_hub import crops
from inpaint_hub.blending import blend_fill
from inpaint_hub.compositing import mask_out
from inpaint_hub.images import Picture, to_unit
from inpaint_hub.texture import FillMixer, textured, textured_windows

# One for all, or one for each latent or result, or none: torch's own.
Generators = torch.Generator | list[torch.Generator] | None
WINDOWS_AT_ONCE = 16  # a photo with hundreds of specks must not fill the memory


@dataclass
class PreparedInputs:
    """pictures and holes (bool [H,W]) as read; windows: (picture's index, Window) of each of the K
    network inputs; image [K,3,s,s] in [-1,1] and mask [K,1,s,s], 1 = hole, of these; own: what each
    window is to fill, bool of the shape of its part of the picture (crops.window_slices); options:
    what encode is given beside the windows, in this call alone; unwanted: for each picture bool
    [H,W] of known places whose texture is not to be copied, or None."""

    pictures: list
    holes: list
    windows: list
    image: torch.Tensor
    mask: torch.Tensor
    own: list
    options: dict = field(default_factory=dict)
    unwanted: list | None = None

    def masked(self, part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """(I_m, M) of the windows in the slice `part`."""
        mask = self.mask[part]
        return mask_out(self.image[part], mask), mask


def window_groups(windows: list[tuple], apart: bool = False) -> list[slice]:
    """Slices of at most WINDOWS_AT_ONCE windows; `apart`: of one picture each.

    Where the windows of a picture are split depends on their number alone: what its generator draws
    for which of them must not depend on the other pictures.
    """
    starts, end, room = [], 0, 0
    for count in Counter(index for index, _ in windows).values():
        if count > room or apart:
            starts += range(end, end + count, WINDOWS_AT_ONCE)
            room = -count % WINDOWS_AT_ONCE
        else:
            room -= count
        end += count
    return [slice(start, stop) for start, stop in pairwise([*starts, end])]


def generators_of(
    generator: Generators,
    prepared: PreparedInputs,
    samples: int,
) -> Generators:
    """One generator stays one; of a list with one per result, one for each window's sample."""
    if not isinstance(generator, (list, tuple)):
        return generator
    results = len(prepared.pictures) * samples
    if len(generator) != results:
        raise ValueError(
            f"generator is a list of {len(generator)}, expected {results}: one for each result "
            f"({len(prepared.pictures)} pictures x num_images_per_prompt={samples})"
        )
    return [generator[i * samples + s] for i, _ in prepared.windows for s in range(samples)]


def joined(parts: list) -> dict | torch.Tensor:
    """What `render` returned for consecutive windows -> the same for all of them, in fp32."""
    if isinstance(parts[0], dict):
        return {name: joined([part[name] for part in parts]) for name in parts[0]}
    return torch.cat([part.float() for part in parts])


def _textured(
    rgb: np.ndarray,
    picture: Picture,
    hole: np.ndarray,
    window: crops.Window,
    own: np.ndarray,
    patch: np.ndarray,
    texture: str,
    blend: str,
    mask_blur: int,
    seed: int,
    unwanted: np.ndarray | None,
    mixer: FillMixer | None,
) -> list[tuple]:
    """Write the textured fill of one window into rgb; [((slices, own), (choice, scores))] of its
    crops.

    Crops of the texture's own, with as much around each hole as it needs: the window may be a whole
    photo, of which only these are enlarged.
    """
    choices = []
    part = crops.window_slices(window, hole.shape)
    in_pieces = texture in ("patches", "auto")
    for pieces in textured_windows(hole, own, part, in_pieces):
        pixels, missing = picture.pixels, hole
        if len(pieces) > 1:
            pixels, missing = pixels.copy(), missing.copy()
        for crop, filled in pieces:
            around = crops.window_slices(crop, hole.shape)
            seen = crops.shared_slices(part, around)
            inner = tuple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(seen, around))
            known = pixels[around]
            fill = np.zeros(known.shape, np.float32)
            covered = np.zeros(filled.shape, bool)
            fill[inner] = crops.enlarge(patch, window, seen)
            covered[inner] = crops.inside(window, seen)
            result = textured(
                fill,
                known,
                missing[around],
                filled,
                covered,
                texture,
                window.side / len(patch),
                blend,
                seed,
                None if unwanted is None else unwanted[around],
                mixer if len(pieces) == 1 else None,  # it would show where they meet
            )
            made = result.rgb
            if len(pieces) > 1:
                colors = np.rint(np.clip(made, 0, 1) * 255).astype(np.uint8)
                np.copyto(pixels[around], colors, where=filled[..., None])
                missing[around] &= ~filled
            if mask_blur:
                photo = picture.pixels[around].astype(np.float32) / 255
                made = blend_fill(made, photo, hole[around], "none", mask_blur)
            np.copyto(rgb[around], made, where=filled[..., None])
            choices.append(((around, filled), (result.choice, result.scores)))
    return choices


def fills_of(
    prepared: PreparedInputs,
    generated: torch.Tensor,
    samples: int = 1,
    mask_blur: int = 0,
    keep_known: bool = True,
    blend: str = "none",
    texture: str = "none",
    seeds: list[int] | None = None,
    chosen: list | None = None,
    mixer: FillMixer | None = None,
) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """What is put into the pictures: for each result in turn, (rgb float32 [H,W,3] in [0,1], or
    None where there is no window; bool [H,W] of where it counts).

    keep_known=False shows the generator's whole window instead, without blend and texture.
    mask_blur, blend, texture: those of InpaintPipeline.__call__. seeds: whole numbers of the
    texture's search, one for each result; where not given, the sample's number. chosen: a list that
    takes up, for each result, [((slices, own), (choice, scores))] of its crops. mixer: of copies
    and these networks' fills.
    """
    patches = to_unit(generated) if len(generated) else []
    for index, (picture, hole) in enumerate(zip(prepared.pictures, prepared.holes)):
        windows = [(k, w) for k, (i, w) in enumerate(prepared.windows) if i == index]
        unwanted = prepared.unwanted[index] if prepared.unwanted else None
        for sample in range(samples):
            rgb = np.zeros((*hole.shape, 3), np.float32) if windows else None
            shown = np.zeros_like(hole)
            choices = []
            for k, window in windows:
                part = whole = crops.window_slices(window, hole.shape)
                patch = patches[k * samples + sample]
                if keep_known and texture != "none":
                    seed = sample if seeds is None else seeds[index * samples + sample]
                    own = prepared.own[k]
                    choices += _textured(
                        rgb,
                        picture,
                        hole,
                        window,
                        own,
                        patch,
                        texture,
                        blend,
                        mask_blur,
                        seed,
                        unwanted,
                        mixer,
                    )
                    shown[part] |= own
                    continue
                if keep_known and blend == "none":  # blends look further than the hole
                    part = crops.hole_slices(hole, part)
                patch = crops.enlarge(patch, window, part)
                if not keep_known:
                    covered = crops.inside(window, part)
                else:
                    rows, columns = (slice(p.start - w.start, p.stop - w.start)
                                     for p, w in zip(part, whole))  # fmt: skip
                    covered = prepared.own[k][rows, columns]
                    if mask_blur or blend != "none":
                        known = picture.pixels[part].astype(np.float32) / 255
                        patch = blend_fill(patch, known, hole[part], blend, mask_blur)
                np.copyto(rgb[part], patch, where=covered[..., None])
                shown[part] |= covered
            if chosen is not None:
                chosen.append(choices)
            yield rgb, shown
