"""InpaintPipeline: preprocess -> encode -> generate -> composite, for any encoder and generator."""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from diffusers.utils import BaseOutput, replace_example_docstring

from inpaint_hub import crops, engines
from inpaint_hub.blending import dilate
from inpaint_hub.images import (
    Picture,
    PictureLike,
    read_images,
    read_masks,
    to_tensor,
    write_pictures,
)
from inpaint_hub.pipelines.arguments import check_arguments, chosen_noise, warn_of_hidden
from inpaint_hub.pipelines.repository import HubPipeline, woken
from inpaint_hub.pipelines.windows import (
    Generators,
    PreparedInputs,
    fills_of,
    generators_of,
    joined,
    window_groups,
)
from inpaint_hub.stylegan2.latents import FWLatent

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
    """Of the N pictures given, with S = num_images_per_prompt:

    images: N * S filled pictures, the S of one picture in a row, as output_type asks.
    generated: the generator's own pictures [K * S,3,s,s], unbounded around [-1,1], for K windows.
    textures: for each result, [(what its texture is, the scores by which it was chosen)] of each of
        its crops; None where texture is "none".
    """

    images: list | np.ndarray | torch.Tensor | tuple
    generated: torch.Tensor | None
    textures: list | None = None


class InpaintPipeline(HubPipeline):
    """Base of the inpainting pipelines: components `encoder`, `gan` and perhaps others, stages as
    methods."""

    model_cpu_offload_seq = "encoder->gan"
    output_class = InpaintOutput
    default_blend = "none"
    usage_imports = "from PIL import Image\n"
    usage = (
        'photo, mask = Image.open("photo.png"), Image.open("mask.png")  # white = repaint\n'
        'pipe(photo, mask).images[0].save("filled.png")\n'
    )
    promise = "The result has the photo's size, and everything outside the mask is untouched.\n\n"

    @property
    def input_dtype(self) -> torch.dtype:
        """torch.dtype of the network that sees the masked picture."""
        return self.encoder.dtype

    def optimize(self, engine: str | None = "eager", dtype: torch.dtype | None = None) -> Self:
        """Let the networks run by forms made for speed; returns the pipeline.

        Weights, configs and what save_pretrained writes stay as they are; networks that other
        pipelines share run faster there too. The first fill with each new number of windows tries
        out what is quickest. Call it before the networks are offloaded.

        Args:
            engine: "eager" | "compile" | "openvino" (pip install .[cpu]; eager, with a warning,
                where it is missing), or None for the plain definitions again.
            dtype: to compute in; where not given, bf16 on GPUs that have it (else fp16) and on CPUs
                with AMX or AVX512-BF16, else the weights' own.

        Raises: ValueError for an unknown engine or dtype, or networks compiled or offloaded before.
        """
        engines.install(self, engine, dtype)
        return self

    def check_inputs(self, arguments: dict[str, Any]) -> None:
        """arguments: those of __call__, by name, and whatever else: locals() as it begins.

        Raises: ValueError, TypeError that name the argument and what it was."""
        check_arguments(arguments)

    @staticmethod
    def read(
        image: PictureLike,
        mask_image: PictureLike,
        height: int | None = None,
        width: int | None = None,
        mask_dilate: int = 0,
    ) -> tuple[list[Picture], list[np.ndarray]]:
        """What users gave -> (pictures, holes): a Picture and a bool [H,W] for each."""
        pictures = before = read_images(image)
        if height is not None:
            pictures = [picture.resized((width, height)) for picture in pictures]
        holes = read_masks(mask_image, pictures, before=before)
        holes = [dilate(hole, mask_dilate) for hole in holes]
        warn_of_hidden(image, pictures, holes)
        return pictures, holes

    def preprocess(
        self,
        image: PictureLike,
        mask_image: PictureLike,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        mask_dilate: int = 0,
        context: float | None = None,
    ) -> PreparedInputs:
        """What users gave -> PreparedInputs at the network's resolution.

        The hole's old content is removed before anything is resized: it cannot reach the network.
        """
        pictures, holes = self.read(image, mask_image, height, width, mask_dilate)
        windows = self.windows_of(pictures, holes, padding_mask_crop, context)
        return self.prepare(pictures, holes, windows)

    def windows_of(
        self,
        pictures: list[Picture],
        holes: list[np.ndarray],
        padding_mask_crop: int | None = None,
        context: float | None = None,
    ) -> list[tuple]:
        """[(picture's index, window)] that `prepare` takes; arguments as __call__'s."""
        windows = []
        for index, (picture, hole) in enumerate(zip(pictures, holes)):
            if context is not None:
                found = crops.context_windows(hole, context, self.resolution)
            elif padding_mask_crop is None:
                found = crops.whole_window(hole)
            else:
                least = min(self.resolution, *picture.size)
                padding = min(padding_mask_crop, max(picture.size))  # beyond is but reflection
                found = crops.hole_windows(hole, padding, least)
            windows += [(index, window) for window in found]
        return windows

    def prepare(
        self, pictures: list[Picture], holes: list[np.ndarray], windows: list[tuple]
    ) -> PreparedInputs:
        """PreparedInputs of pictures and holes as `read` returns them.

        windows: (picture's index, window) each, a picture's in a row; the window a crops.OwnWindow,
            or any other, which fills the holes inside it.
        """
        cut_pixels, cut_holes, bare, own = [], [], [], []
        for index, window in windows:
            hole = holes[index]
            if isinstance(window, crops.OwnWindow):
                window, filled = window
            else:
                part = crops.window_slices(window, hole.shape)
                filled = hole[part] & crops.inside(window, part)
            bare.append((index, window))
            own.append(filled)
            cut_pixels.append(crops.cut(pictures[index].pixels, window, self.resolution, hole))
            cut_holes.append(crops.cut_mask(hole, window, self.resolution))
        if not windows:
            empty = torch.zeros(0, 3, self.resolution, self.resolution)
            return PreparedInputs(pictures, holes, [], empty, empty[:, :1], [])
        device, dtype = self._execution_device, self.input_dtype
        mask = torch.from_numpy(np.stack(cut_holes))[:, None].to(device, dtype)
        image = to_tensor(cut_pixels).to(device, dtype)
        return PreparedInputs(pictures, holes, bare, image, mask, own)

    def encode(self, masked_image: torch.Tensor, mask: torch.Tensor) -> FWLatent:
        """masked_image [K,3,s,s] in [-1,1] with hole 0, mask [K,1,s,s] -> FWLatent."""
        return self.encoder.invert(masked_image, mask)

    def vary(
        self,
        latent: FWLatent,
        variation: float,
        generator: Generators = None,
        truncation_psi: float = 1.0,
    ) -> FWLatent:
        """The latents, ws moved by `variation` times the offset of a random w from the mean latent.

        generator: one torch.Generator, or a list with one for each latent. truncation_psi: share of
            its way from the mean to which the random w is pulled first.
        """
        if variation == 0:
            return latent
        offsets = self.random_offsets(len(latent.ws), generator)
        return latent._replace(ws=latent.ws + variation * truncation_psi * offsets[:, None])

    def random_offsets(self, count: int, generator: Generators = None) -> torch.Tensor:
        """Of `count` random w from the mean latent, [count,w_dim]; generator: as vary's."""
        generators = generator if isinstance(generator, list) else [generator] * count
        z = [
            torch.randn(self.gan.z_dim, generator=g, device=g.device if g else None)
            for g in generators
        ]
        gan = woken(self.gan)
        return gan.mapping(torch.stack(z).to(gan.device, gan.dtype)) - gan.w_avg

    def drawn(self, latent: FWLatent, generator: Generators, truncation_psi: float) -> FWLatent:
        """The latents as random noise makes them: here, where it is the generator's alone, as they
        are. Arguments as vary's."""
        return latent

    def generate(
        self,
        latent: FWLatent,
        noise_mode: str = "const",
        generator: Generators = None,
        truncation_psi: float = 1.0,
        **options: Any,
    ) -> torch.Tensor | tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """FWLatent of K latents -> the GAN's pictures [K,3,s,s], unbounded around [-1,1].

        noise_mode: "random" draws anew what `drawn` says, too, truncation_psi being its.
        options: as SynthesisNetwork.forward's (return_features).
        """
        if noise_mode == "random":
            latent = self.drawn(latent, generator, truncation_psi)
        return woken(self.gan).synthesis(
            *latent, noise_mode=noise_mode, generator=generator, **options
        )

    def render(
        self,
        latent: FWLatent,
        masked_image: torch.Tensor,
        mask: torch.Tensor,
        noise_mode: str = "const",
        generator: Generators = None,
        truncation_psi: float = 1.0,
    ) -> dict:
        """{name: tensor [K,...]}: the output's fields for K windows, given their latents and what
        the networks see of them. `generated`, [K,3,s,s] around [-1,1], is what fills the holes."""
        return {"generated": self.generate(latent, noise_mode, generator, truncation_psi)}

    fills = staticmethod(fills_of)  # how the seam is made is said there alone

    def composite(
        self,
        prepared: PreparedInputs,
        generated: torch.Tensor,
        samples: int = 1,
        *seam: Any,
        **named_seam: Any,
    ) -> list:
        """Pictures with `generated` [K * samples,3,s,s] in their holes, in the users' own kinds.

        Arguments as those of `fills`.
        """
        fills = self.fills(prepared, generated, samples, *seam, **named_seam)
        shown = [picture for picture in prepared.pictures for _ in range(samples)]
        return [picture.fill(*fill) for picture, fill in zip(shown, fills)]

    @torch.no_grad()
    @replace_example_docstring(EXAMPLE_DOC_STRING)
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
        texture: str = "none",
        truncation_psi: float = 1.0,
        encode_options: dict | None = None,
    ) -> InpaintOutput | tuple:
        """Fill the white part of mask_image; every value outside it is returned bit for bit.

        Without a hole the pictures come back as they are, and no network runs.

        Args:
            image: picture or pictures (see inpaint_hub.images).
            mask_image: one mask for all or one for each; white (1, True) is repainted.
            height, width: first resize the pictures, as RGB, to this size (both or neither), which
                the results then have.
            padding_mask_crop: cut each hole out with this many px around it, instead of the largest
                square of the picture; distant holes are then filled separately.
            num_images_per_prompt: results for each picture. The encoder is deterministic: they
                differ by the generator's noise, which is small detail, and by `variation`.
            generator: torch.Generator, or a list with one for each result, that draws noise and
                variation. With a list, a result does not depend on the others in its batch.
            latents: FWLatent to render instead of encoding (one entry per window).
            output_type: "pil" | "np" | "pt", "native" for each in the kind, dtype and layout it was
                given in, or "latent" for the FWLatent itself, unvaried.
            return_dict: False returns the output's fields as a tuple, images and generated first.
            mask_dilate: grow the hole by so many px first; what counts as known, and comes back bit
                for bit, is then what lies outside the grown hole.
            mask_blur: soften the fill's rim, inside the hole, over so many px.
            noise_mode: "const" | "random" | "none"; where not given, random when several results
                or a generator are asked for, else const.
            variation: how far style vectors move toward those of random latents, 0 (not at all) to
                1; makes the results for one hole differ visibly. Ours, not the papers'.
            composite: False shows the generator's picture around the hole too.
            blend: how the fill is made to meet the known colors, at the picture's own resolution
                and inside the hole alone: "none" | "feather" (over mask_blur px, 8 if not given) |
                "laplacian" | "poisson" | "gp" (Gaussian-Poisson); where not given, none, but gp for
                PSPBlendPipeline. mask_blur then softens what they leave.
            context: cut each hole out with so many times its own size around it on each side, as 1;
                more where little of that would be known. Instead of padding_mask_crop.
            texture: how the fill becomes as sharp as the picture: "none" (the network's own,
                enlarged) | "detail" (with the fine residuals of where the picture looks alike) |
                "patches" (copies of the picture, in a part of the network's colors) | "auto" (the
                better of the two). Colors are matched first, by "gp" where blend is "none". The
                generator, if one is given, then also draws the search's seed.
            truncation_psi: random w, those of `variation` and those that CoModGAN and InvertFill's
                noise levels draw, are pulled to this share of their way from the mean, 0 to 1.
            encode_options: {name: value} that encode is given too; what they are is the pipeline's.

        Returns: InpaintOutput, or the pipeline's own kind of it.

        Raises: TypeError, ValueError that say which argument was given what, and what was expected.

        Examples:
        """
        self.check_inputs(locals())
        prepared = self.preprocess(
            image, mask_image, height, width, padding_mask_crop, mask_dilate, context
        )
        prepared.options = encode_options or {}
        samples = num_images_per_prompt
        noise_mode = chosen_noise(noise_mode, samples, generator)
        if latents is not None and len(latents.ws) != len(prepared.windows):
            raise ValueError(
                f"latents hold {len(latents.ws)} entries, expected {len(prepared.windows)}, one "
                "for each window of the pictures; encode them with the same mask_image and "
                "padding_mask_crop"
            )
        if output_type == "latent":
            if not prepared.windows:
                raise ValueError(
                    "output_type is 'latent' but no mask has a hole; give a mask with white"
                )
            latent = self._latent(prepared, latents, slice(None))
            self.maybe_free_model_hooks()
            return self._output(return_dict, images=latent, generated=None)
        # What is copied from where can turn on a last digit.
        apart = texture != "none"
        rendered = self.answer(
            prepared, samples, generator, noise_mode, variation, latents, apart, truncation_psi
        )
        chosen = []
        filled = self.composite(
            prepared,
            rendered["generated"],
            samples,
            mask_blur=mask_blur,
            keep_known=composite,
            blend=blend or self.default_blend,
            texture=texture,
            seeds=self.texture_seeds(texture, generator, len(prepared.pictures), samples),
            chosen=chosen,
        )
        of_each = [picture for picture in prepared.pictures for _ in range(samples)]
        images = write_pictures(filled, output_type, of_each)
        self.maybe_free_model_hooks()
        textures = [[choice for _, choice in crops] for crops in chosen]
        textures = None if texture == "none" else textures
        return self._output(return_dict, images=images, textures=textures, **rendered)

    @staticmethod
    def texture_seeds(
        texture: str, generator: Generators, num_pictures: int, samples: int = 1
    ) -> list[int] | None:
        """Seeds of the texture's search, one for each result: drawn from its generator, else None
        (then the samples' numbers). generator: as __call__'s."""
        if generator is None or texture == "none":
            return None
        count = num_pictures * samples
        generators = generator if isinstance(generator, (list, tuple)) else [generator] * count
        return [int(torch.randint(2**31, (), generator=g, device=g.device)) for g in generators]

    def answer(
        self,
        prepared: PreparedInputs,
        samples: int = 1,
        generator: Generators = None,
        noise_mode: str = "const",
        variation: float = 0.0,
        latents: FWLatent | None = None,
        apart: bool = False,
        truncation_psi: float = 1.0,
    ) -> dict:
        """What `render` returns for all K windows, `samples` answers of one window in a row.

        Arguments as __call__'s, the generators' list one for each result. apart: no two pictures in
        one pass of the network, whose last digits depend on how many it sees.
        """
        noise = generators_of(generator, prepared, samples)
        if not prepared.windows:
            return {"generated": prepared.image}
        parts = []
        for part in window_groups(prepared.windows, apart):
            own = noise
            if isinstance(noise, list):
                own = noise[part.start * samples : part.stop * samples]
            latent = self._latent(prepared, latents, part).repeat(samples)
            latent = self.vary(latent, variation, own, truncation_psi)
            seen = [x.repeat_interleave(samples, dim=0) for x in prepared.masked(part)]
            parts.append(self.render(latent, *seen, noise_mode, own, truncation_psi))
        return joined(parts)

    def _output(self, return_dict: bool, **values: Any) -> InpaintOutput | tuple:
        output = self.output_class(**values)
        if return_dict:
            return output
        names = [each.name for each in fields(output)]
        names.sort(key="textures".__eq__)  # last: the others keep the places they always had
        return tuple(getattr(output, name) for name in names)

    def _latent(self, prepared: PreparedInputs, latents: FWLatent | None, part: slice) -> FWLatent:
        """FWLatent of the windows in the slice `part`: encoded, unless `latents` holds them."""
        if latents is None:
            return self.encode(*prepared.masked(part), **prepared.options)
        return latents._replace(
            ws=latents.ws[part],
            features={r: f[part] for r, f in latents.features.items()},
            rgb_features={r: f[part] for r, f in latents.rgb_features.items()},
        )
