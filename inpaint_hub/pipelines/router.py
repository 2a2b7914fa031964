"""Any photo: holes in faces are filled by a model of faces in its own frame, all others by one of
photos."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from inpaint_hub import crops
from inpaint_hub.blending import blend_fill
from inpaint_hub.faces import FaceDetector, OtherHalf, other_half
from inpaint_hub.faces.symmetry import ALIKE_PATCH, eyes_in
from inpaint_hub.images import Picture, PictureLike, write_pictures
from inpaint_hub.pipelines.arguments import chosen_noise
from inpaint_hub.pipelines.base import InpaintOutput, InpaintPipeline
from inpaint_hub.pipelines.kinds import KINDS
from inpaint_hub.pipelines.nested import NestedPipeline
from inpaint_hub.pipelines.refinement import CoarseToFinePipeline
from inpaint_hub.pipelines.routes import Plan, Route, check_choice, plan_of, with_textures
from inpaint_hub.pipelines.windows import Generators, PreparedInputs
from inpaint_hub.stylegan2 import FWLatent


@dataclass
class AutoInpaintOutput(InpaintOutput):
    """As InpaintOutput, and routes: one Route for each hole of the pictures given.

    generated: always None; the two models' pictures have different frames.
    """

    generated: torch.Tensor | None = None
    routes: list | None = None


class Fill(NamedTuple):
    """rgb float32 [h,w,3] in [0,1] and where it counts, bool [h,w], in a part of a picture."""

    part: tuple
    rgb: np.ndarray
    shown: np.ndarray


class AutoInpaintPipeline(NestedPipeline):
    """Fills holes in any photo: finds its faces, fills what touches one by the pipeline `faces` in
    the frame it was trained in, and everything else by the pipeline `photos`.

    Called like the others, but that context is 1, blend "gp" and texture "auto" where not given.
    What a hole held is looked at to find the face there, and for nothing else.
    """

    output_class = AutoInpaintOutput
    default_blend = "gp"
    in_full_precision = ("detector",)
    part_kinds = KINDS | {CoarseToFinePipeline.__name__: CoarseToFinePipeline}

    def __init__(
        self, faces: InpaintPipeline, photos: InpaintPipeline, detector: FaceDetector
    ) -> None:
        super().__init__()
        self.register_parts(faces=faces, photos=photos, detector=detector)

    @property
    def resolution(self) -> int:
        """Side of the larger model's pictures in px."""
        return max(self.faces.resolution, self.photos.resolution)

    @torch.no_grad()
    def route(
        self, image: PictureLike, mask_image: PictureLike, faces: str = "auto", mask_dilate: int = 0
    ) -> list[Route]:
        """[Route] of each hole, without filling any; arguments as __call__'s."""
        check_choice(faces)
        pictures, holes = self.read(image, mask_image, mask_dilate=mask_dilate)
        plans = self._plans(pictures, holes, faces)
        return [route for plan in plans for route in plan.routes]

    @torch.no_grad()
    def __call__(
        self,
        image: PictureLike,
        mask_image: PictureLike,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        num_images_per_prompt: int = 1,
        generator: Generators = None,
        latents: FWLatent | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        mask_dilate: int = 0,
        mask_blur: int = 0,
        noise_mode: str | None = None,
        variation: float = 0.0,
        composite: bool = True,
        blend: str | None = None,
        context: float | None = None,
        texture: str = "auto",
        faces: str = "auto",
    ) -> AutoInpaintOutput | tuple:
        """Fill the white part of mask_image; every value outside it is returned bit for bit.

        Args:
            context, padding_mask_crop: how much `photos` sees around a hole; where neither is
                given, the hole's own size on each side (context=1).
            faces: "auto" sends holes that touch a face to `faces`; "always" all holes, those
                without a face in the whole picture, as if it were a face cut out closely; "never"
                looks for no face.
            blend: where not given, "gp".
            texture: "auto" is "detail" in faces, whose content only the model knows, and in the
                first result what a face's other half shows ("mirrored"): an eye beside a known one.
            Others as InpaintPipeline's; latents, composite=False and output_type="latent" are for
            one model: call pipe.faces or pipe.photos.

        Returns: AutoInpaintOutput.

        Raises: TypeError, ValueError that say which argument was given what, and what was expected.
        """
        if context is None and padding_mask_crop is None:
            context = crops.CONTEXT
        check_choice(faces)
        self.check_inputs(locals())
        if latents is not None or not composite or output_type == "latent":
            raise ValueError(
                f"latents={'given' if latents is not None else None}, composite={composite}, "
                f"output_type={output_type!r}: expected None, True and a kind of picture, because "
                "two models with frames of their own fill here; call pipe.faces or pipe.photos"
            )
        samples = num_images_per_prompt
        noise_mode = chosen_noise(noise_mode, samples, generator)
        pictures, holes = self.read(image, mask_image, height, width, mask_dilate)
        plans = self._plans(pictures, holes, faces)
        answer = {"generator": generator, "noise_mode": noise_mode, "variation": variation}
        seam = {"mask_blur": mask_blur, "blend": blend or self.default_blend, "texture": texture}
        by_faces, textures = self._fill_faces(pictures, holes, plans, samples, answer, seam)
        by_photos, others = self._fill_rest(
            pictures, holes, plans, samples, by_faces, answer, seam, (context, padding_mask_crop)
        )
        if texture == "auto":
            plans = [
                with_textures(plan, textures[i * samples] + others[i * samples], holes[i].shape)
                for i, plan in enumerate(plans)
            ]
        filled = [
            _filled(pictures[k // samples], holes[k // samples], fills)
            for k, fills in enumerate(zip(by_faces, by_photos))
        ]
        routes = [route for plan in plans for route in plan.routes]
        of_each = [picture for picture in pictures for _ in range(samples)]
        images = write_pictures(filled, output_type, of_each)
        if texture == "none":
            chosen = None
        else:
            chosen = [[choice for _, choice in (*a, *b)] for a, b in zip(textures, others)]
        return self._output(
            return_dict, images=images, generated=None, textures=chosen, routes=routes
        )

    def _plans(self, pictures: list[Picture], holes: list[np.ndarray], choice: str) -> list[Plan]:
        pairs = enumerate(zip(pictures, holes))
        return [plan_of(self.detector, i, *pair, choice) for i, pair in pairs]

    def _fill_faces(
        self,
        pictures: list[Picture],
        holes: list[np.ndarray],
        plans: list[Plan],
        samples: int,
        answer: dict,
        seam: dict,
    ) -> tuple[list[Fill | None], list[list]]:
        """What the model of faces fills, as `_filled` returns it."""
        windows = [(i, window) for i, plan in enumerate(plans) for window in plan.frames]
        chosen = seam["texture"] == "auto"
        if chosen:
            seam = seam | {"texture": "detail"}
        fills, textures = self._filled(self.faces, pictures, holes, windows, samples, answer, seam)
        if chosen:
            for i, plan in enumerate(plans):
                textures[i * samples] += _write_other_halves(
                    fills[i * samples], pictures[i], holes[i], plan.frames, seam
                )
        return fills, textures

    def _fill_rest(
        self,
        pictures: list[Picture],
        holes: list[np.ndarray],
        plans: list[Plan],
        samples: int,
        by_faces: list[Fill | None],
        answer: dict,
        seam: dict,
        room: tuple[float | None, int | None],
    ) -> tuple[list[Fill | None], list[list]]:
        """The same by the model of photos, which sees the faces' fills as known."""
        rest = [h if p.by_faces is None else h & ~p.by_faces for h, p in zip(holes, plans)]
        unwanted = [plan.unwanted(hole.shape) for plan, hole in zip(plans, holes)]
        if any(by_faces):  # each answer continues its own
            pictures = [_with_fill(pictures[k // samples], fill) for k, fill in enumerate(by_faces)]
            rest = [mask for mask in rest for _ in range(samples)]
            unwanted, samples = [one for one in unwanted for _ in range(samples)], 1
        context, padding = room
        windows = self.photos.windows_of(pictures, rest, padding, context)
        return self._filled(self.photos, pictures, rest, windows, samples, answer, seam, unwanted)

    @staticmethod
    def _filled(
        pipe: InpaintPipeline,
        pictures: list[Picture],
        holes: list[np.ndarray],
        windows: list[tuple],
        samples: int,
        answer: dict,
        seam: dict,
        unwanted: list[np.ndarray | None] | None = None,
    ) -> tuple[list[Fill | None], list[list]]:
        """([Fill or None], [[((slices, own) of a crop, (choice, scores) of its texture)]]), one
        entry for each result."""
        results = len(pictures) * samples
        if not windows:
            return [None] * results, [[] for _ in range(results)]
        prepared = replace(pipe.prepare(pictures, holes, windows), unwanted=unwanted)
        rendered = pipe.answer(prepared, samples, **answer, apart=seam["texture"] != "none")
        seeds, chosen = _seeds(prepared, samples, answer["generator"], seam["texture"]), []
        fills = pipe.fills(
            prepared, rendered["generated"], samples, **seam, seeds=seeds, chosen=chosen
        )
        found = [_compact(*fill) for fill in fills]
        pipe.maybe_free_model_hooks()
        return found, chosen


def _seeds(
    prepared: PreparedInputs,
    samples: int,
    generator: Generators,
    texture: str,
) -> list[int] | None:
    """As InpaintPipeline.texture_seeds, drawn for pictures with a window alone: a picture's results
    must not depend on which others are filled with it."""
    if generator is None or texture == "none":
        return None
    with_window = {index for index, _ in prepared.windows}
    seeds = []
    for k in range(len(prepared.pictures) * samples):
        one = generator[k] if isinstance(generator, (list, tuple)) else generator
        drawn = k // samples in with_window
        seeds.append(
            int(torch.randint(2**31, (), generator=one, device=one.device)) if drawn else 0
        )
    return seeds


def _write_other_halves(
    fill: Fill | None,
    picture: Picture,
    hole: np.ndarray,
    frames: list[crops.OwnWindow],
    seam: dict,
) -> list[tuple]:
    """Write what the other halves of faces show into the fill of their model, where that is better:
    whole holes, or an eye alone; [((slices, own), (choice, scores))] of what was written."""
    written = []
    for window, own in frames:
        mine = np.zeros_like(hole)
        mine[crops.window_slices(window, hole.shape)] = own
        for one in crops.separate_holes(mine):
            alone = np.zeros_like(hole)
            alone[one.part] = one.own
            half = other_half(picture.pixels, hole, alone, window)
            if half is not None and half.alike:
                written.append(_write_half(fill, half, picture, hole, alone, seam))
                continue
            for eye in eyes_in(alone, window):
                model = _with_fill(picture, fill)
                half = other_half(model.pixels, hole, eye, window, filled=alone)
                if half is not None and half.asymmetry < ALIKE_PATCH:
                    written.append(_write_half(fill, half, model, eye, eye, seam))
    return written


def _write_half(
    fill: Fill, half: OtherHalf, picture: Picture, hole: np.ndarray, own: np.ndarray, seam: dict
) -> tuple:
    """One of _write_other_halves; picture, hole: what it is blended into."""
    known, there, own = picture.pixels[half.part], hole[half.part], own[half.part]
    blend = "gp" if seam["blend"] == "none" else seam["blend"]
    rgb = blend_fill(half.rgb, known.astype(np.float32) / 255, there, blend, seam["mask_blur"])
    inner = crops.shared_slices(half.part, fill.part)
    to, here = (
        tuple(slice(s.start - p.start, s.stop - p.start) for s, p in zip(inner, part))
        for part in (fill.part, half.part)
    )
    np.copyto(fill.rgb[to], np.clip(rgb[here], 0, 1), where=own[here][..., None])
    return (half.part, own), ("mirrored", {"asymmetry": half.asymmetry})


def _compact(rgb: np.ndarray, shown: np.ndarray) -> Fill | None:
    """Fill of the smallest part that holds it; None where nothing is shown."""
    if not shown.any():
        return None
    left, top, right, bottom = crops.bounding_box(shown)
    part = slice(top, bottom), slice(left, right)
    return Fill(part, rgb[part].copy(), shown[part].copy())


def _with_fill(picture: Picture, fill: Fill | None) -> Picture:
    """The picture as the networks are to see it, with a fill."""
    if fill is None:
        return picture
    pixels = picture.pixels.copy()
    colors = np.rint(np.clip(fill.rgb, 0, 1) * 255).astype(np.uint8)
    np.copyto(pixels[fill.part], colors, where=fill.shown[..., None])
    return replace(picture, pixels=pixels)


def _filled(
    picture: Picture, hole: np.ndarray, fills: tuple[Fill | None, Fill | None]
) -> PictureLike:
    """The picture with the fills of both models, of which each may be None."""
    rgb = np.zeros((*hole.shape, 3), np.float32) if any(fills) else None
    shown = np.zeros_like(hole)
    for fill in filter(None, fills):
        np.copyto(rgb[fill.part], fill.rgb, where=fill.shown[..., None])
        shown[fill.part] |= fill.shown
    return picture.fill(rgb, shown)
