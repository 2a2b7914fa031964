"""Any photo: holes in faces are filled by a model of faces in its own frame, all others by one of
photos."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import __version__ as diffusers_version

from inpaint_hub import crops, hub
from inpaint_hub.faces import MIN_FACE_PX, FaceDetector, find_faces, frame_of
from inpaint_hub.images import write_pictures
from inpaint_hub.pipelines.base import InpaintOutput, InpaintPipeline
from inpaint_hub.pipelines.kinds import KINDS
from inpaint_hub.pipelines.repository import INDEX, hub_options
from inpaint_hub.texture import textured_windows

FACES = ("auto", "always", "never")
# A hole that hides so much of a face, and lies so far beyond its frame or leaves so little of it,
# is there to take a person away.
HIDDEN, BEYOND, LEFT = 0.9, 0.3, 0.1


class Route(NamedTuple):
    """What fills one hole, and why.

    picture: index of the picture. box: (left, top, right, bottom) of the hole in px, the last two
    exclusive. route: "faces", "photos", or "texture" where the photo's own texture was better than
    what the model of photos knows. reason: a sentence for the user. face: box of the face that the
    hole touches, in px, or None.
    """

    picture: int
    box: tuple
    route: str
    reason: str
    face: tuple | None = None

    @property
    def sentence(self):
        """The same in words."""
        left, top, right, bottom = self.box
        by = {"texture": "the photo's own texture"}.get(self.route, f"the model of {self.route}")
        return (
            f"Hole of {right - left} x {bottom - top} px at ({left}, {top}): {by}; {self.reason}."
        )


@dataclass
class AutoInpaintOutput(InpaintOutput):
    """As InpaintOutput, and routes: one Route for each hole of the pictures given.

    generated: always None; the two models' pictures have different frames.
    """

    generated: torch.Tensor | None = None
    routes: list | None = None


class Plan(NamedTuple):
    """routes of one picture, one for each of its `parts`, the crops.Holes; frames: [OwnWindow] of
    the faces whose holes the model of faces fills; by_faces: bool [H,W], which pixels these are
    (None: none)."""

    routes: list
    parts: list
    frames: list
    by_faces: np.ndarray | None


class Fill(NamedTuple):
    """rgb float32 [h,w,3] in [0,1] and where it counts, bool [h,w], in a part of a picture."""

    part: tuple
    rgb: np.ndarray
    shown: np.ndarray


class AutoInpaintPipeline(InpaintPipeline):
    """Fills holes in any photo: finds its faces, fills what touches one by the pipeline `faces` in
    the frame it was trained in, and everything else by the pipeline `photos`.

    Called like the others, but that context is 1, blend "gp" and texture "auto" where not given.
    What a hole held is looked at to find the face there, and for nothing else.
    """

    output_class = AutoInpaintOutput
    default_blend = "gp"

    def __init__(self, faces: InpaintPipeline, photos: InpaintPipeline, detector: FaceDetector):
        super().__init__()
        for name, part in (("faces", faces), ("photos", photos)):
            if not isinstance(part, InpaintPipeline) or isinstance(part, AutoInpaintPipeline):
                raise TypeError(
                    f"{name} is a {type(part).__name__}, expected a pipeline of one model; load "
                    "one with load_pipeline"
                )
        if not isinstance(detector, FaceDetector):
            raise TypeError(
                f"detector is a {type(detector).__name__}, expected a FaceDetector; load one with "
                "FaceDetector.from_pretrained"
            )
        self.register_modules(faces=faces, photos=photos, detector=detector)

    @property
    def resolution(self):
        """Side of the larger model's pictures in px."""
        return max(self.faces.resolution, self.photos.resolution)

    @property
    def parts(self):
        """{name: pipeline} of the two it chooses from."""
        return {"faces": self.faces, "photos": self.photos}

    def to(self, *arguments, **options):
        for part in (*self.parts.values(), self.detector):
            part.to(*arguments, **options)
        return self

    def optimize(self, engine="eager", dtype=None):
        for part in self.parts.values():
            part.optimize(engine, dtype)
        return self

    def enable_model_cpu_offload(self, *arguments, **options):
        for part in self.parts.values():
            part.enable_model_cpu_offload(*arguments, **options)

    def set_progress_bar_config(self, **options):
        for part in self.parts.values():
            part.set_progress_bar_config(**options)

    @torch.no_grad()
    def route(self, image, mask_image, faces="auto", mask_dilate=0):
        """[Route] of each hole, without filling any; arguments as __call__'s."""
        _check_choice(faces)
        pictures, holes = self.read(image, mask_image, mask_dilate=mask_dilate)
        plans = [self._plan(i, *pair, faces) for i, pair in enumerate(zip(pictures, holes))]
        return [route for plan in plans for route in plan.routes]

    @torch.no_grad()
    def __call__(
        self,
        image,
        mask_image,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents=None,
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
    ):
        """Fill the white part of mask_image; every value outside it is returned bit for bit.

        Args:
            context, padding_mask_crop: how much `photos` sees around a hole; where neither is
                given, the hole's own size on each side (context=1).
            faces: "auto" sends holes that touch a face to `faces`; "always" all holes, those
                without a face in the whole picture, as if it were a face cut out closely; "never"
                looks for no face.
            blend: where not given, "gp".
            texture: "auto" is "detail" in faces, whose content only the model knows.
            Others as InpaintPipeline's; latents, composite=False and output_type="latent" are for
            one model: call pipe.faces or pipe.photos.

        Returns: AutoInpaintOutput.

        Raises: TypeError, ValueError that say which argument was given what, and what was expected.
        """
        if context is None and padding_mask_crop is None:
            context = crops.CONTEXT
        _check_choice(faces)
        self.check_inputs(
            {
                "height": height,
                "width": width,
                "padding_mask_crop": padding_mask_crop,
                "num_images_per_prompt": num_images_per_prompt,
                "generator": generator,
                "latents": latents,
                "output_type": output_type,
                "mask_dilate": mask_dilate,
                "mask_blur": mask_blur,
                "noise_mode": noise_mode,
                "variation": variation,
                "blend": blend,
                "context": context,
                "texture": texture,
            }
        )
        if latents is not None or not composite or output_type == "latent":
            raise ValueError(
                f"latents={'given' if latents is not None else None}, composite={composite}, "
                f"output_type={output_type!r}: expected None, True and a kind of picture, because "
                "two models with frames of their own fill here; call pipe.faces or pipe.photos"
            )
        samples = num_images_per_prompt
        if noise_mode is None:
            noise_mode = "random" if samples > 1 or generator is not None else "const"
        pictures, holes = self.read(image, mask_image, height, width, mask_dilate)
        plans = [self._plan(i, *pair, faces) for i, pair in enumerate(zip(pictures, holes))]
        answer = {"generator": generator, "noise_mode": noise_mode, "variation": variation}
        seam = {"mask_blur": mask_blur, "blend": blend or self.default_blend, "texture": texture}
        by_faces, textures = self._fill_faces(pictures, holes, plans, samples, answer, seam)
        by_photos, others = self._fill_rest(
            pictures, holes, plans, samples, by_faces, answer, seam, (context, padding_mask_crop)
        )
        if texture == "auto":
            plans = [
                _with_textures(plan, others[i * samples], holes[i].shape)
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

    def _plan(self, index, picture, hole, choice):
        """Plan of one picture."""
        found = []
        if choice != "never" and hole.any():
            found = find_faces(self.detector, picture.pixels, hole)
        frames = [frame_of(face.points) for face in found]
        routes, chosen, holes = [], {}, crops.separate_holes(hole)
        for part in holes:
            touched = [k for k, face in enumerate(found) if touches(part, face.box)]
            wanted, route = self._route(index, part, touched, found, frames, choice)
            routes.append(route)
            for k in wanted:
                chosen.setdefault(k, []).append(part)
        taken, windows = np.zeros_like(hole), []
        for k, parts in chosen.items():
            window = crops.whole_window(hole)[0] if k is None else frames[k]
            slices = crops.window_slices(window, hole.shape)
            own = np.zeros_like(taken)
            for part in parts:
                own[part.part] |= part.own
            own = own[slices] & crops.inside(window, slices) & ~taken[slices]
            taken[slices] |= own
            if own.any():
                windows.append(crops.OwnWindow(window, own))
        return Plan(routes, holes, windows, taken if windows else None)

    def _route(self, index, part, touched, found, frames, choice):
        """(keys of the frames that fill the hole, None being the whole picture; its Route)."""

        def told(route, reason, face=None):
            return Route(index, part.box, route, reason, face)

        large = [k for k in touched if found[k].side >= MIN_FACE_PX]
        for k in sorted(large, key=lambda k: -found[k].side):
            hidden, beyond, left = shares(part, found[k].box, frames[k])
            if choice == "auto" and hidden > HIDDEN and (beyond > BEYOND or left < LEFT):
                reason = f"hides all of a face, {found[k].side:.0f} px high: taken for its removal"
                return [], told("photos", reason, found[k].box)
        if large:
            largest = max(large, key=lambda k: found[k].side)
            count = "a face" if len(large) == 1 else f"{len(large)} faces"
            reason = f"touches {count}, {found[largest].side:.0f} px high"
            return large, told("faces", reason, found[largest].box)
        if choice == "always":
            return [None], told("faces", "no face found here; the whole picture counts as one")
        if choice == "never":
            return [], told("photos", "faces were not looked for")
        if touched:
            side = max(found[k].side for k in touched)
            reason = f"touches a face of {side:.0f} px only, below {MIN_FACE_PX} px"
            return [], told("photos", reason, found[touched[0]].box)
        return [], told("photos", "touches no face" if found else "no face in the picture")

    def _fill_faces(self, pictures, holes, plans, samples, answer, seam):
        """What the model of faces fills, as `_filled` returns it."""
        windows = [(i, window) for i, plan in enumerate(plans) for window in plan.frames]
        if seam["texture"] == "auto":
            seam = seam | {"texture": "detail"}
        return self._filled(self.faces, pictures, holes, windows, samples, answer, seam)

    def _fill_rest(self, pictures, holes, plans, samples, by_faces, answer, seam, room):
        """The same by the model of photos, which sees the faces' fills as known."""
        rest = [h if p.by_faces is None else h & ~p.by_faces for h, p in zip(holes, plans)]
        if any(by_faces):  # each answer continues its own
            pictures = [_with_fill(pictures[k // samples], fill) for k, fill in enumerate(by_faces)]
            rest, samples = [mask for mask in rest for _ in range(samples)], 1
        context, padding = room
        windows = self.photos.windows_of(pictures, rest, padding, context)
        return self._filled(self.photos, pictures, rest, windows, samples, answer, seam)

    @staticmethod
    def _filled(pipe, pictures, holes, windows, samples, answer, seam):
        """([Fill or None], [[((slices, own) of a crop, (choice, scores) of its texture)]]), one
        entry for each result."""
        results = len(pictures) * samples
        if not windows:
            return [None] * results, [[] for _ in range(results)]
        prepared = pipe.prepare(pictures, holes, windows)
        rendered = pipe.answer(prepared, samples, **answer, apart=seam["texture"] != "none")
        seeds, chosen = _seeds(prepared, samples, answer["generator"], seam["texture"]), []
        fills = pipe.fills(
            prepared, rendered["generated"], samples, **seam, seeds=seeds, chosen=chosen
        )
        found = [_compact(*fill) for fill in fills]
        pipe.maybe_free_model_hooks()
        textures = []
        for k, choices in enumerate(chosen):
            areas = _textured_crops(prepared, k // samples) if choices else []
            textures.append(list(zip(areas, choices, strict=True)))
        return found, textures

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, variant=None, **kwargs):
        """The pipeline of a folder or Hub repository; arguments as InpaintPipeline's.

        faces, photos, detector: to use instead of the repository's.
        """
        own = {name: kwargs.pop(name) for name in ("faces", "photos", "detector") if name in kwargs}
        where = hub_options(kwargs)
        index = json.loads(
            hub.find_file(pretrained_model_name_or_path, INDEX, **where).read_text("utf-8")
        )
        if index.get("_class_name") != cls.__name__:
            raise TypeError(
                f"{str(pretrained_model_name_or_path)!r} holds a {index.get('_class_name')}, "
                f"expected a {cls.__name__}; use load_pipeline"
            )
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            folder = hub.local_snapshot(pretrained_model_name_or_path, **where)
        for name in {"faces", "photos"} - own.keys():
            entry = index.get(name)
            kind = entry[1] if isinstance(entry, list) and len(entry) == 2 else entry
            if kind not in KINDS:
                raise ValueError(
                    f"{name} is a {kind} in {INDEX}, expected one of {sorted(KINDS)}; was it "
                    "written by a newer version?"
                )
            own[name] = KINDS[kind].from_pretrained(folder / name, variant=variant, **kwargs)
        if "detector" not in own:
            own["detector"] = FaceDetector.from_pretrained(folder, subfolder="detector")
        return cls(**own)

    def write_components(self, folder, **options):
        """As HubPipeline's: the folders faces and photos are whole repositories themselves."""
        for name, part in self.parts.items():
            part.save_pretrained(folder / name, **options)
        self.detector.save_pretrained(folder / "detector")
        index = {"_class_name": type(self).__name__, "_diffusers_version": diffusers_version}
        index |= {
            name: ["inpaint_hub", type(part).__name__] for name, part in self.components.items()
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def _check_choice(faces):
    if faces not in FACES:
        raise ValueError(f"faces is {faces!r}, expected one of {FACES}")


def touches(hole, box):
    """Whether a crops.Hole has a pixel in the box."""
    return bool(_inside_box(hole, box).any())


def _inside_box(hole, box):
    left, top, right, bottom = (round(side) for side in box)
    x, y = max(left - hole.box[0], 0), max(top - hole.box[1], 0)
    return hole.own[y : max(bottom - hole.box[1], 0), x : max(right - hole.box[0], 0)]


def shares(hole, box, frame):
    """(share of a face's box that the hole hides, share of the hole outside the face's frame, share
    of the frame that the hole leaves)."""
    area = max((box[2] - box[0]) * (box[3] - box[1]), 1)
    within = (hole.own & crops.inside(frame, hole.part)).sum()
    hidden = _inside_box(hole, box).sum() / area
    return float(hidden), float(1 - within / hole.own.sum()), float(1 - within / frame.side**2)


def _seeds(prepared, samples, generator, texture):
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


def _textured_crops(prepared, index):
    """[(slices, own)] of the crops in which texture was made for a picture, in their order."""
    hole, found = prepared.holes[index], []
    for (i, window), own in zip(prepared.windows, prepared.own):
        if i == index:
            crops_of_it = textured_windows(hole, own, crops.window_slices(window, hole.shape))
            found += [(crops.window_slices(w, hole.shape), filled) for w, filled in crops_of_it]
    return found


def _with_textures(plan, textures, shape):
    """The plan whose routes say where the photo's texture was better than the model of photos."""
    copied = np.zeros(shape, bool)
    for (part, own), (choice, _) in textures:
        if choice == "patches":
            copied[part] |= own
    routes = list(plan.routes)
    for k, (route, hole) in enumerate(zip(plan.routes, plan.parts)):
        if route.route == "photos" and (copied[hole.part] & hole.own).any():
            told = "the model of photos misses too much of what lies around it"
            routes[k] = route._replace(route="texture", reason=f"{route.reason}; {told}")
    return plan._replace(routes=routes)


def _compact(rgb, shown):
    """Fill of the smallest part that holds it; None where nothing is shown."""
    if not shown.any():
        return None
    left, top, right, bottom = crops.bounding_box(shown)
    part = slice(top, bottom), slice(left, right)
    return Fill(part, rgb[part].copy(), shown[part].copy())


def _with_fill(picture, fill):
    """The picture as the networks are to see it, with a fill."""
    if fill is None:
        return picture
    pixels = picture.pixels.copy()
    colors = np.rint(np.clip(fill.rgb, 0, 1) * 255).astype(np.uint8)
    np.copyto(pixels[fill.part], colors, where=fill.shown[..., None])
    return replace(picture, pixels=pixels)


def _filled(picture, hole, fills):
    """The picture with the fills of both models, of which each may be None."""
    rgb = np.zeros((*hole.shape, 3), np.float32) if any(fills) else None
    shown = np.zeros_like(hole)
    for fill in filter(None, fills):
        np.copyto(rgb[fill.part], fill.rgb, where=fill.shown[..., None])
        shown[fill.part] |= fill.shown
    return picture.fill(rgb, shown)
