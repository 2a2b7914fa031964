"""Latent searches as pipelines: many steps for each picture, no encoder."""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from inpaint_hub.hub import find_file, read_json
from inpaint_hub.images import PictureLike
from inpaint_hub.pipelines.base import InpaintOutput, InpaintPipeline
from inpaint_hub.pipelines.repository import INDEX, dtype_for, hub_options, woken
from inpaint_hub.pipelines.windows import PreparedInputs
from inpaint_hub.search import Limits, Schedule, multi_code_search, w_plus_search, yeh_search
from inpaint_hub.stylegan2 import FWLatent, StyleGAN2Discriminator, StyleGAN2Generator


@dataclass
class SearchRequest:
    """What one call asks of its searches; every call has its own, so that calls of several threads
    on one pipeline do not meet.

    callback, perceptual_network, init_encoder: SearchPipeline.__call__'s; schedule: in place of the
    pipeline's own. started:
    time.monotonic() of the call; windows_left: how many are still to be searched for, None before
    the first.
    """

    limits: Limits
    callback: Callable | None = None
    perceptual_network: Callable | None = None
    init_encoder: nn.Module | None = None
    schedule: Schedule | None = None
    started: float = field(default_factory=lambda: time.monotonic())  # a test has its own clock
    windows_left: int | None = None

    def seconds_for(self, count: int) -> float | None:
        """The share of the time that is left which the next `count` windows get; None: any time."""
        if self.limits.max_seconds is None:
            return None
        left = max(self.limits.max_seconds - (time.monotonic() - self.started), 0)
        windows = max(self.windows_left or 0, count)
        self.windows_left = windows - count
        return left * count / windows


class SearchPipeline(InpaintPipeline):
    """Base of the pipelines that look for the latent by gradient descent instead of encoding."""

    model_cpu_offload_seq = "gan"
    _exclude_from_cpu_offload = ["discriminator"]  # used in turn with gan at every step

    @property
    def input_dtype(self) -> torch.dtype:
        return self.gan.dtype

    # Of inpaint_hub.search: takes the constructor's networks and settings by their names there.
    search_by: Callable[..., FWLatent]
    takes_init_encoder = False
    _interrupt = False

    @property
    def interrupt(self) -> bool:
        """True ends the search after the step: set `pipe._interrupt = True` in the callback."""
        return self._interrupt

    def __call__(
        self,
        image: PictureLike,
        mask_image: PictureLike,
        *arguments: Any,
        num_inference_steps: int | None = None,
        callback_on_step_end: Callable | None = None,
        tolerance: float | None = None,
        max_seconds: float | None = None,
        perceptual_network: Callable | None = None,
        init_encoder: nn.Module | None = None,
        coarse_to_fine: bool | None = None,
        num_starts: int | None = None,
        **options: Any,
    ) -> InpaintOutput | tuple:
        """Fill the white part of mask_image; every value outside it is returned bit for bit.

        Args:
            image, mask_image, *arguments, **options: as InpaintPipeline.__call__'s.
            num_inference_steps: steps of the search for each group of at most 16 windows; the
                pipeline's own num_steps where not given.
            callback_on_step_end: called after every step as callback(pipe, step, step, {"codes":
                list of tensors [K,...], "loss": [K]}); what it returns is not used.
            tolerance: a window's search ends when its loss fell by less than this share in 25
                steps.
            max_seconds: time for all searches of the call, of which each group of windows gets its
                share; the best so far is used.
            perceptual_network: module, pictures [N,3,H,W] in [0,1] -> list of feature maps, on the
                pipeline's device, whose maps of the known part are compared too.
            init_encoder: of a pSp pipeline for the same generator: its codes are where the search
                begins, in place of the mean latent.
            coarse_to_fine: half of the steps at a quarter of the resolution and a quarter of them
                at half of it, quicker for large pictures; the pipeline's own where not given.
            num_starts: so many starts for each picture, searched together; the best goes on after
                a fifth of the steps, or after the coarsest. The pipeline's own where not given.

        Returns: InpaintOutput.

        Raises: TypeError, ValueError that say which argument was given what, and what was expected.
        """
        steps = self.config.num_steps if num_inference_steps is None else num_inference_steps
        _check_limits(steps, callback_on_step_end, tolerance, max_seconds)
        if perceptual_network is not None and "perceptual_weight" not in self.config:
            raise ValueError(
                f"perceptual_network is given but {type(self).__name__} compares no features; "
                "expected None"
            )
        if init_encoder is not None and not self.takes_init_encoder:
            raise ValueError(
                f"init_encoder is given but {type(self).__name__} does not search W+; expected None"
            )
        config = self.config
        schedule = Schedule(
            config.coarse_to_fine if coarse_to_fine is None else coarse_to_fine,
            config.num_starts if num_starts is None else num_starts,
        )
        _check_starts(schedule.num_starts)
        self._interrupt = False
        limits = Limits(steps, tolerance, max_seconds)
        request = SearchRequest(
            limits, callback_on_step_end, perceptual_network, init_encoder, schedule
        )
        options["encode_options"] = {"request": request}
        return super().__call__(image, mask_image, *arguments, **options)

    def _latent(self, prepared: PreparedInputs, latents: FWLatent | None, part: slice) -> FWLatent:
        request = prepared.options.get("request")
        if request is not None and request.windows_left is None:
            request.windows_left = len(prepared.windows)
        return super()._latent(prepared, latents, part)

    def encode(
        self, masked_image: torch.Tensor, mask: torch.Tensor, request: SearchRequest | None = None
    ) -> FWLatent:
        """masked_image [K,3,s,s] in [-1,1] with hole 0, mask [K,1,s,s] -> the FWLatent found.

        request: the call's SearchRequest; the pipeline's own number of steps where not given.
        """
        woken(self.gan)
        asked = request or SearchRequest(Limits(self.config.num_steps))
        with self.progress_bar(total=asked.limits.num_steps) as bar:

            def on_step(step: int, codes: list[torch.Tensor], losses: torch.Tensor) -> bool:
                bar.update()
                if asked.callback is not None:
                    asked.callback(self, step, step, {"codes": codes, "loss": losses})
                return self._interrupt

            limits = replace(
                asked.limits,
                max_seconds=asked.seconds_for(len(mask)),
                on_step=None if request is None else on_step,
            )
            # Under inference_mode no gradient could be taken of what these are part of.
            with torch.inference_mode(False), torch.no_grad():
                masked_image, mask = masked_image.clone(), mask.clone()
                own = Schedule(self.config.coarse_to_fine, self.config.num_starts)
                options = (asked.schedule or own)._asdict()
                if asked.init_encoder is not None:
                    options["start"] = self.started_by(asked.init_encoder, masked_image, mask)
                return self.search(masked_image, mask, limits, asked.perceptual_network, **options)

    def started_by(
        self, encoder: nn.Module, masked_image: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """ws [K,L,w_dim] of an encoder, such as pSp's.

        Raises: ValueError where they are none of this generator's.
        """
        place = {"device": encoder.device, "dtype": encoder.dtype}
        ws = encoder(masked_image.to(**place), mask.to(**place))
        expected = (len(mask), self.gan.num_ws, self.gan.w_dim)
        if not isinstance(ws, torch.Tensor) or ws.shape != expected:
            found = tuple(ws.shape) if isinstance(ws, torch.Tensor) else type(ws).__name__
            raise ValueError(
                f"init_encoder gives {found}, expected style vectors {expected}; give the encoder "
                "of a PSPPipeline for the same generator"
            )
        return ws.to(self.gan.device, self.gan.dtype)

    def search(
        self,
        masked_image: torch.Tensor,
        mask: torch.Tensor,
        limits: Limits,
        perceptual_network: Callable | None = None,
        **options: Any,
    ) -> FWLatent:
        """As encode, within `limits`. options: coarse_to_fine, num_starts (search.Schedule), and
        `start`, style vectors, where takes_init_encoder."""
        known = inspect.signature(self.search_by).parameters
        given = {name: value for name, value in self.config.items() if name in known}
        given |= {name: getattr(self, name) for name in self.network_classes()}
        if "perceptual_network" in known:
            given["perceptual_network"] = perceptual_network
        return self.search_by(
            masked_image=masked_image, mask=mask, limits=limits, **given | options
        )


def _check_starts(num_starts: int) -> None:
    if not isinstance(num_starts, Integral) or num_starts < 1:
        raise ValueError(f"num_starts is {num_starts!r}, expected a whole number of at least 1")


def _check_limits(
    steps: int, callback: Callable | None, tolerance: float | None, max_seconds: float | None
) -> None:
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"num_inference_steps is {steps!r}, expected a whole number of at least 1")
    if callback is not None and not callable(callback):
        raise TypeError(
            f"callback_on_step_end is {callback!r}, expected a function of (pipe, step, timestep, "
            "callback_kwargs)"
        )
    if tolerance is not None and not (isinstance(tolerance, Real) and 0 <= tolerance < 1):
        raise ValueError(f"tolerance is {tolerance!r}, expected a share from 0 to below 1, or None")
    if max_seconds is not None and not (isinstance(max_seconds, Real) and max_seconds > 0):
        raise ValueError(f"max_seconds is {max_seconds!r}, expected a number above 0, or None")


class WPlusSearchPipeline(SearchPipeline):
    """Fills holes by searching W+ for the known pixels (Image2StyleGAN, ICCV 2019, on the known
    part).

    perceptual_weight counts where the call is given a perceptual_network. coarse_to_fine,
    num_starts: those of search.Schedule; for generators of 256 px and more, ours.
    """

    search_by = staticmethod(w_plus_search)
    takes_init_encoder = True
    papers = ("Image2StyleGAN", "StyleGAN2")

    def __init__(
        self,
        gan: StyleGAN2Generator,
        num_steps: int = 1000,
        learning_rate: float = 0.05,
        perceptual_weight: float = 0.1,
        coarse_to_fine: bool = False,
        num_starts: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.register_networks(gan=gan)
        _check_starts(num_starts)
        self.register_to_config(
            num_steps=num_steps,
            learning_rate=learning_rate,
            perceptual_weight=perceptual_weight,
            coarse_to_fine=coarse_to_fine,
            num_starts=num_starts,
            seed=seed,
        )


class YehPipeline(SearchPipeline):
    """Fills holes by searching z for context and realism, then Poisson blending (Yeh et al., CVPR
    2017)."""

    search_by = staticmethod(yeh_search)
    default_blend = "poisson"
    papers = ("Semantic Image Inpainting with Deep Generative Models", "StyleGAN2")

    def __init__(
        self,
        gan: StyleGAN2Generator,
        discriminator: StyleGAN2Discriminator,
        num_steps: int = 1000,
        learning_rate: float = 0.1,
        prior_weight: float = 0.02,
        seed: int = 0,
        coarse_to_fine: bool = False,
        num_starts: int = 1,
    ) -> None:
        super().__init__()
        self.register_networks(gan=gan, discriminator=discriminator)
        _check_starts(num_starts)
        self.register_to_config(
            num_steps=num_steps,
            learning_rate=learning_rate,
            prior_weight=prior_weight,
            seed=seed,
            coarse_to_fine=coarse_to_fine,
            num_starts=num_starts,
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """As HubPipeline's. A generator's repository does: where it holds a discriminator beside,
        as those of trainings and of converted files, that one is taken."""
        repository, where = pretrained_model_name_or_path, hub_options(kwargs)
        index = read_json(find_file(repository, INDEX, **where), "a pipeline's index")
        if "discriminator" not in {*index, *kwargs}:
            kwargs["discriminator"] = StyleGAN2Discriminator.from_pretrained(
                repository,
                subfolder="discriminator",
                dtype=dtype_for("discriminator", kwargs),
                **where,
            )
        return super().from_pretrained(repository, **kwargs)


class MGANPriorPipeline(SearchPipeline):
    """Fills holes with several codes whose features are mixed by channel (mGANprior, CVPR 2020).

    perceptual_weight counts where the call is given a perceptual_network.
    """

    search_by = staticmethod(multi_code_search)
    papers = ("mGANprior", "StyleGAN2")

    def __init__(
        self,
        gan: StyleGAN2Generator,
        num_steps: int = 1000,
        learning_rate: float = 0.05,
        num_codes: int = 10,
        mixing_resolution: int = 8,
        perceptual_weight: float = 0.1,
        seed: int = 0,
        coarse_to_fine: bool = False,
        num_starts: int = 1,
    ) -> None:
        super().__init__()
        self.register_networks(gan=gan)
        _check_starts(num_starts)
        if mixing_resolution not in gan.resolutions[:-1]:
            raise ValueError(
                f"mixing_resolution is {mixing_resolution}, expected one of "
                f"{gan.resolutions[:-1]}, below the generator's own"
            )
        self.register_to_config(
            num_steps=num_steps,
            learning_rate=learning_rate,
            num_codes=num_codes,
            mixing_resolution=mixing_resolution,
            perceptual_weight=perceptual_weight,
            seed=seed,
            coarse_to_fine=coarse_to_fine,
            num_starts=num_starts,
        )
