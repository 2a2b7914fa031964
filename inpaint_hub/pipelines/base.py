"""InpaintPipeline: preprocess -> encode -> generate -> composite, around any encoder and
generator."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines import pipeline_loading_utils
from diffusers.utils import BaseOutput
from PIL import Image

from inpaint_hub import crops, hub
from inpaint_hub.blending import dilate, feathered
from inpaint_hub.compositing import mask_out
from inpaint_hub.images import read_images, read_masks, to_tensor, to_unit, write_pictures

# diffusers saves and loads only components whose base class stands in these tables; ours is looked
# up by name in the top-level package. One test fails loudly should the tables move.
REGISTRATION = {hub.HubModel.__name__: ["save_pretrained", "from_pretrained"]}
pipeline_loading_utils.LOADABLE_CLASSES["inpaint_hub"] = REGISTRATION
pipeline_loading_utils.ALL_IMPORTABLE_CLASSES.update(REGISTRATION)

OUTPUT_TYPES = ("pil", "np", "pt", "latent")

EXAMPLE_DOC_STRING = """
Examples:
    >>> from PIL import Image
    >>> from inpaint_hub import InvertFillPipeline
    >>> pipe = InvertFillPipeline.from_pretrained("weights/invertfill-faces-64")
    >>> photo, mask = Image.open("photo.png"), Image.open("mask.png")  # white = repaint
    >>> pipe(photo, mask).images[0].save("filled.png")
"""


@dataclass
class InpaintOutput(BaseOutput):
    """images: the filled pictures as asked by output_type, num_images_per_prompt for each picture
    in a row.
    generated: the generator's raw pictures, [K,3,s,s] around [-1,1], one per window and sample."""

    images: list | np.ndarray | torch.Tensor | tuple
    generated: torch.Tensor | None


@dataclass
class PreparedInputs:
    """pictures and holes (bool [H,W]) as read; windows: (picture index, Window) of each network
    input; image [K,3,s,s] in [-1,1] and mask [K,1,s,s], 1 = hole, of the K windows."""

    pictures: list
    holes: list
    windows: list
    image: torch.Tensor
    mask: torch.Tensor


class InpaintPipeline(DiffusionPipeline):
    """Base of the inpainting pipelines: components `encoder` and `gan`; stages are public
    methods."""

    model_cpu_offload_seq = "encoder->gan"

    @property
    def resolution(self):
        """Side of the network's pictures in px."""
        return self.gan.resolution

    def check_inputs(
        self,
        height,
        width,
        padding_mask_crop,
        num_images_per_prompt,
        output_type,
        mask_dilate,
        mask_blur,
    ):
        """Raises: ValueError that names the argument and what it was given."""
        if (height is None) != (width is None):
            raise ValueError(f"height={height}, width={width}: give both or neither")
        lowest = {
            "height": (height, 1),
            "width": (width, 1),
            "padding_mask_crop": (padding_mask_crop, 0),
            "num_images_per_prompt": (num_images_per_prompt, 1),
            "mask_dilate": (mask_dilate, 0),
            "mask_blur": (mask_blur, 0),
        }
        for name, (value, least) in lowest.items():
            if value is not None and (value != int(value) or value < least):
                raise ValueError(
                    f"{name} is {value!r}, expected a whole number of at least {least}"
                )
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type is {output_type!r}, expected one of {OUTPUT_TYPES}")

    def preprocess(
        self, image, mask_image, height=None, width=None, padding_mask_crop=None, mask_dilate=0
    ):
        """What users gave -> PreparedInputs at the network's resolution.

        The hole's old content is removed before anything is resized: it cannot reach the network.
        """
        pictures = read_images(image)
        if height is not None:
            pictures = [
                read_images(
                    Image.fromarray(p.pixels).resize((width, height), Image.Resampling.LANCZOS)
                )[0]
                for p in pictures
            ]
        holes = [dilate(hole, mask_dilate) for hole in read_masks(mask_image, pictures)]
        windows, cut_pixels, cut_holes = [], [], []
        for index, (picture, hole) in enumerate(zip(pictures, holes)):
            emptied = picture.pixels.copy()
            emptied[hole] = 127
            if padding_mask_crop is None:
                found = crops.whole_window(hole)
            else:
                least = min(self.resolution, *picture.size)
                found = crops.hole_windows(hole, padding_mask_crop, least)
            for window in found:
                windows.append((index, window))
                cut_pixels.append(crops.cut(emptied, window, self.resolution))
                cut_holes.append(crops.cut_mask(hole, window, self.resolution))
        if not windows:
            empty = torch.zeros(0, 3, self.resolution, self.resolution)
            return PreparedInputs(pictures, holes, [], empty, empty[:, :1])
        device, dtype = self._execution_device, self.encoder.dtype
        mask = torch.from_numpy(np.stack(cut_holes))[:, None].to(device, dtype)
        return PreparedInputs(
            pictures, holes, windows, to_tensor(cut_pixels).to(device, dtype), mask
        )

    def encode(self, masked_image, mask):
        """masked_image [K,3,s,s] in [-1,1] with hole 0, mask [K,1,s,s] -> FWLatent."""
        raise NotImplementedError

    def vary(self, latent, variation, generator=None):
        """The latents with `variation` times the offset of a random w from the mean latent added to
        ws.

        generator: one torch.Generator, or a list with one for each latent.
        """
        if variation == 0:
            return latent
        generators = generator if isinstance(generator, list) else [generator] * len(latent.ws)
        z = [
            torch.randn(self.gan.z_dim, generator=g, device=g.device if g else None)
            for g in generators
        ]
        z = torch.stack(z).to(latent.ws.device, self.gan.dtype)
        offset = self.gan.mapping(z) - self.gan.w_avg
        return latent._replace(ws=latent.ws + variation * offset[:, None])

    def generate(self, latent, noise_mode="const", generator=None):
        """FWLatent of K latents -> pictures [K,3,s,s], unbounded around [-1,1]."""
        return self.gan.synthesis(
            latent.ws,
            latent.features,
            latent.rgb_features,
            noise_mode=noise_mode,
            generator=generator,
        )

    def composite(self, prepared, generated, samples=1, mask_blur=0, keep_known=True):
        """Pictures with `generated` [K * samples,3,s,s] in their holes, in the users' own kinds.

        keep_known=False shows the generator's whole window instead.
        """
        patches = to_unit(generated) if len(generated) else []
        filled = []
        for index, (picture, hole) in enumerate(zip(prepared.pictures, prepared.holes)):
            own = [(k, w) for k, (i, w) in enumerate(prepared.windows) if i == index]
            known = picture.pixels.astype(np.float32) / 255 if mask_blur and own else None
            for sample in range(samples):
                rgb = np.zeros((*hole.shape, 3), np.float32) if own else None
                shown = hole if keep_known else np.zeros_like(hole)
                for k, window in own:
                    part = crops.window_slices(window, hole.shape)
                    patch = crops.enlarge(patches[k * samples + sample], window, hole.shape)
                    if mask_blur and keep_known:
                        patch = feathered(patch, known[part], hole[part], mask_blur)
                    if keep_known:
                        rgb[part][hole[part]] = patch[hole[part]]
                    else:
                        rgb[part], shown[part] = patch, True
                filled.append(picture.fill(rgb, shown))
        return filled

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
    ):
        """Fill the white part of mask_image; every value outside it is returned bit for bit.

        Args:
            image: picture or pictures (see inpaint_hub.images).
            mask_image: one mask for all or one for each; white (1, True) is repainted.
            height, width: resize the pictures first (both or neither); the result has that size.
            padding_mask_crop: cut each hole out with this many px around it, instead of the largest
                square of the picture; distant holes are then filled separately.
            num_images_per_prompt: results for each picture; they differ by the generator's noise,
                and by `variation`.
            generator: torch.Generator, or a list with one for each result, that draws the noise.
            latents: FWLatent to render instead of encoding (one entry per window).
            output_type: "pil" | "np" | "pt", or "latent" for the FWLatent itself.
            return_dict: False returns the tuple (images, generated).
            mask_dilate: grow the hole by so many px first; the known pixels are those outside the
            grown one.
            mask_blur: soften the fill's rim, inside the hole, over so many px.
            noise_mode: "const" | "random" | "none"; random when several results or a generator are
            asked
                for, else const.
            variation: how far style vectors move towards those of random latents, 0 (not at all) to
            1;
                makes the results for one hole differ visibly. Ours, not the papers'.
            composite: False shows the generator's picture around the hole too.

        Returns: InpaintOutput.

        Raises: TypeError, ValueError that say which argument was given what, and what was expected.
        """
        self.check_inputs(
            height,
            width,
            padding_mask_crop,
            num_images_per_prompt,
            output_type,
            mask_dilate,
            mask_blur,
        )
        if not 0 <= variation <= 1:
            raise ValueError(f"variation is {variation!r}, expected a number from 0 to 1")
        prepared = self.preprocess(image, mask_image, height, width, padding_mask_crop, mask_dilate)
        samples = num_images_per_prompt
        if noise_mode is None:
            noise_mode = "random" if samples > 1 or generator is not None else "const"
        generated = prepared.image
        if prepared.windows:
            latent = latents
            if latent is None:
                latent = self.encode(mask_out(prepared.image, prepared.mask), prepared.mask)
            if len(latent.ws) != len(prepared.windows):
                raise ValueError(
                    f"latents hold {len(latent.ws)} entries, expected {len(prepared.windows)}, one "
                    f"for each "
                    "window of the pictures; encode them with the same mask_image and "
                    "padding_mask_crop"
                )
            if output_type == "latent":
                self.maybe_free_model_hooks()
                return InpaintOutput(latent, None) if return_dict else (latent, None)
            noise = self._per_window(generator, prepared, samples)
            latent = self.vary(latent.repeat(samples), variation, noise)
            generated = self.generate(latent, noise_mode, noise).float()
        elif output_type == "latent":
            raise ValueError(
                "output_type is 'latent' but no mask has a hole; give a mask with white"
            )
        filled = self.composite(prepared, generated, samples, mask_blur, composite)
        images = write_pictures(filled, output_type)
        self.maybe_free_model_hooks()
        return InpaintOutput(images, generated) if return_dict else (images, generated)

    def _per_window(self, generator, prepared, samples):
        """One generator stays one; a list with one per result becomes a list with one per window
        and sample."""
        if not isinstance(generator, (list, tuple)):
            return generator
        results = len(prepared.pictures) * samples
        if len(generator) != results:
            raise ValueError(
                f"generator is a list of {len(generator)}, expected {results}: one for each result "
                f"({len(prepared.pictures)} pictures x num_images_per_prompt={samples})"
            )
        return [generator[i * samples + s] for i, _ in prepared.windows for s in range(samples)]

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path, variant=None, device_map=None, **kwargs
    ):
        """The pipeline of a folder or Hub repository. Arguments as in diffusers (revision, token,
        cache_dir, local_files_only, force_download, dtype or {component: dtype}, components by
        name).

        device_map: name of a device ("cuda", "cpu", "cuda:1").

        Raises: FileNotFoundError for a missing variant; ValueError for device maps that split a
        model.
        """
        if device_map is not None and (
            not isinstance(device_map, (str, torch.device))
            or str(device_map) in ("balanced", "auto")
        ):
            raise ValueError(
                f"device_map is {device_map!r}, expected the name of one device, as 'cuda'; the "
                f"models are "
                "small enough for one"
            )
        if variant is not None:
            kwargs |= cls._load_components(pretrained_model_name_or_path, variant, kwargs)
        pipeline = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        return pipeline if device_map is None else pipeline.to(device_map)

    @classmethod
    def _load_components(cls, repository, variant, kwargs):
        """{name: model} of the variant's files, which diffusers would not pass on."""
        where = {
            k: kwargs[k]
            for k in ("revision", "token", "cache_dir", "local_files_only", "force_download")
            if k in kwargs
        }
        dtype = kwargs.get("dtype", kwargs.get("torch_dtype"))
        models = {}
        for name, annotation in cls.__init__.__annotations__.items():
            if isinstance(annotation, type) and issubclass(annotation, hub.HubModel):
                if name not in kwargs:
                    own = (
                        dtype.get(name, dtype.get("default")) if isinstance(dtype, dict) else dtype
                    )
                    models[name] = annotation.from_pretrained(
                        repository, subfolder=name, variant=variant, dtype=own, **where
                    )
        return models

    def save_pretrained(self, save_directory, **kwargs):
        """Write model_index.json, the components, and, where they are not there yet, a model card
        and the root config.json by which the Hub counts downloads."""
        push = kwargs.pop("push_to_hub", False)
        repo_id = kwargs.pop("repo_id", Path(save_directory).name)
        super().save_pretrained(save_directory, **kwargs)
        folder = Path(save_directory)
        if not (folder / "README.md").is_file():
            (folder / "README.md").write_text(self.model_card())
        if not (folder / "config.json").is_file():
            config = {"_class_name": type(self).__name__, "resolution": self.resolution}
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        if push:
            hub.push_folder(folder, repo_id)

    def push_to_hub(
        self, repo_id, commit_message=None, private=None, token=None, create_pr=False, variant=None
    ):
        """Upload the pipeline with our model card; returns the commit's address."""
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, variant=variant)
            return hub.push_folder(folder, repo_id, commit_message, private, token, create_pr)

    def model_card(self):
        """README.md of a saved pipeline; data and terms are the trainer's to add."""
        name = type(self).__name__
        return (
            "---\nlibrary_name: inpaint_hub\npipeline_tag: image-to-image\n"
            "tags: [inpainting, gan-inversion, image-inpainting]\n---\n\n"
            f"# {name}, {self.resolution} px\n\n"
            f"{type(self).__doc__.strip()}\n\n"
            "```python\n"
            f"from inpaint_hub import {name}\n"
            "from PIL import Image\n\n"
            f'pipe = {name}.from_pretrained("<this repository>")\n'
            'pipe(Image.open("photo.png"), Image.open("mask.png")).images[0].save("filled.png")\n'
            "```\n\nTraining data, terms of use and measured quality: not stated by who saved "
            "this.\n"
        )
