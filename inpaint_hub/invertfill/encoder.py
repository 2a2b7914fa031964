"""InvertFill's encoder E with its pre-modulation and image branch (InvertFill section 3.1; SPEC
A1-A7)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from inpaint_hub.inversion.backbone import build_backbone, encoder_input
from inpaint_hub.inversion.encoder import InversionEncoder
from inpaint_hub.inversion.style_heads import MapToStyle, check_input_size, level_of
from inpaint_hub.invertfill.image_branch import FeatureBranch, RGBBranch
from inpaint_hub.invertfill.pre_modulation import build_pre_modulation, instance_norm
from inpaint_hub.invertfill.structure import MapToStructure, RGBHead
from inpaint_hub.stylegan2.growth import check_growth, with_more_rows
from inpaint_hub.stylegan2.latents import FWLatent
from inpaint_hub.stylegan2.synthesis import num_ws

FW_MODES = ("feature", "rgb", "none")
NOISE_LEVELS = {"none": 3, "fine": 2, "middle": 1}  # the first level that noise reaches


class InvertFillOutput(NamedTuple):
    """latent: FWLatent; coarse: the small pictures O_E^r, [N,3,r,r] in [-1,1], coarse to fine;
    level_codes w'_r and structure S_r: [N,3,w_dim]."""

    latent: FWLatent
    coarse: list
    level_codes: torch.Tensor
    structure: torch.Tensor


class InvertFillEncoder(InversionEncoder):
    """Masked picture [N,3,s,s] in [-1,1], hole 0, and mask [N,1,s,s], 1 = hole -> InvertFillOutput.

    Args:
        resolution: side s of the generator's pictures in px.
        w_dim, channel_base, channel_max: those of the generator.
        input_size: side e the backbone sees; min(s, 256) where not given.
        backbone: irse50 | resnet34 | small; backbone_width: channels of its first stage.
        mask_channel: show the mask to the backbone.
        style_channels, structure_channels: widths of map2style and map2structure.
        premodulation: Eq. (1); without it w*_l is the level code plus the mean latent.
        beta_sees_w, shared_fc: variants of pre-modulation.
        fw_mode: how I_m enters the generator: feature | rgb | none (W+ only).
        fw_resolutions: where it enters; all of 4..s where not given.
        branch_channel_max: most channels of the feature branch.
        mean_offset: the codes are offsets from a mean latent: w_avg, unless forward is given
            another (SPEC A8, "loss or offset").
        noise_levels: none | fine | middle (and fine): rows of ws that co_modulate moves by random
            latents, through a learned gate. Ours, not the paper's (SPEC G3).

    Raises: ValueError for sizes or modes that do not exist.
    """

    def __init__(
        self,
        *,
        resolution: int = 256,
        w_dim: int = 512,
        channel_base: int = 32768,
        channel_max: int = 512,
        input_size: int | None = None,
        backbone: str = "small",
        backbone_width: int = 32,
        mask_channel: bool = True,
        style_channels: int = 512,
        structure_channels: int = 128,
        premodulation: bool = True,
        beta_sees_w: bool = False,
        shared_fc: bool = False,
        fw_mode: str = "feature",
        fw_resolutions: list[int] | None = None,
        branch_channel_max: int = 128,
        mean_offset: bool = False,
        noise_levels: str = "none",
    ) -> None:
        super().__init__()
        if fw_mode not in FW_MODES:
            raise ValueError(f"fw_mode is {fw_mode!r}, expected one of {FW_MODES}")
        if noise_levels not in NOISE_LEVELS:
            raise ValueError(
                f"noise_levels is {noise_levels!r}, expected one of {tuple(NOISE_LEVELS)}"
            )
        self.resolution, self.mask_channel = resolution, mask_channel
        self.num_ws = num_ws(resolution)
        self.input_size = input_size or min(resolution, 256)
        check_input_size(self.input_size)
        self.backbone = build_backbone(backbone, 4 if mask_channel else 3, backbone_width)
        channels = self.backbone.out_channels
        spatial = [self.input_size // 16, self.input_size // 8, self.input_size // 4]
        self.map_to_style = nn.ModuleList(
            MapToStyle(size, channels, style_channels, w_dim) for size in spatial
        )
        self.rgb_heads = nn.ModuleList(RGBHead(channels) for _ in spatial)
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.pre_modulation = None
        if premodulation:
            self.map_to_structure = nn.ModuleList(
                MapToStructure(size, structure_channels, w_dim) for size in spatial
            )
            self.pre_modulation = build_pre_modulation(self.num_ws, w_dim, beta_sees_w, shared_fc)
        self.mean_offset, self.noise_levels = mean_offset, noise_levels
        if noise_levels != "none":  # zero: what the noise may change is learned
            rows = sum(level_of(row) >= NOISE_LEVELS[noise_levels] for row in range(self.num_ws))
            self.noise_gate = nn.Parameter(torch.zeros(rows, w_dim))
        self.fw_mode = fw_mode
        fw_resolutions = self._checked(fw_resolutions)
        if fw_mode == "feature":
            self.image_branch = FeatureBranch(
                resolution, channel_base, channel_max, fw_resolutions, branch_channel_max
            )
        elif fw_mode == "rgb":
            self.image_branch = RGBBranch(fw_resolutions)

    def _checked(self, fw_resolutions: list[int] | None) -> list[int]:
        possible = [2**k for k in range(2, self.resolution.bit_length())]
        if fw_resolutions is None:
            return possible
        if not fw_resolutions or set(fw_resolutions) - set(possible):
            raise ValueError(
                f"fw_resolutions is {fw_resolutions}, expected some of {possible}; "
                'for no injection at all use fw_mode="none"'
            )
        return sorted(fw_resolutions)

    def initialize_latents(self, w_mean: Tensor, w_std: Tensor) -> None:
        """Start inside the generator's domain, from w's mean and standard deviation, each [w_dim]
        (SPEC A5)."""
        self.w_avg.copy_(w_mean)
        start = torch.zeros_like(w_mean) if self.mean_offset else w_mean
        for layer in self.pre_modulation or []:
            layer.initialize(start, w_std)

    def grow_from(self, smaller: nn.Module) -> None:
        """Copy an encoder for half the resolution, of the same input_size; the new rows of ws begin
        as its last, and what noise may change is learned anew (SPEC G7).

        Raises: ValueError where resolution or layers do not fit.
        """
        check_growth(self, smaller, free=["input_size", "noise_levels", "fw_resolutions"])
        state = with_more_rows(smaller.state_dict(), "pre_modulation", self.num_ws)
        for name in [n for n in state if n.startswith(("image_branch.", "noise_gate"))]:
            del state[name]
        self.load_state_dict(state, strict=False)
        if self.fw_mode != "none":
            self.image_branch.grow_from(smaller.image_branch)

    def co_modulate(self, ws: Tensor, offset: Tensor) -> Tensor:
        """ws [N,L,w_dim] moved by gate * offset in the rows of noise_levels; offset [N,w_dim]:
        mapped random latents minus the generator's w_avg."""
        moved = torch.zeros_like(ws)
        moved[:, -len(self.noise_gate) :] = self.noise_gate * offset[:, None]
        return ws + moved

    def latent_of(self, code: InvertFillOutput, gan: nn.Module | None = None) -> FWLatent:
        """F&W+: the codes, and what I_m adds inside the generator (InvertFill Eq. (3))."""
        return code.latent

    def forward(
        self, masked_image: Tensor, mask: Tensor, mean_latent: Tensor | None = None
    ) -> InvertFillOutput:
        """mean_latent [w_dim]: what codes are added to in place of w_avg, with mean_offset.

        Raises: ValueError for a picture that is not s by s: its features would not fit the
        generator's."""
        if masked_image.shape[-2:] != (self.resolution, self.resolution):
            raise ValueError(
                f"masked_image has shape {tuple(masked_image.shape)}, expected "
                f"[N,3,{self.resolution},{self.resolution}] for this encoder; cut or resize it, or "
                f"use "
                "the pipeline, which takes pictures of any size"
            )
        mean_latent = self.w_avg if mean_latent is None else mean_latent
        x = encoder_input(masked_image, mask, self.input_size, self.mask_channel)
        levels = self.backbone(x)
        coarse = [head(level) for head, level in zip(self.rgb_heads, levels)]
        level_codes = torch.stack([m(x) for m, x in zip(self.map_to_style, levels)], dim=1)
        if self.pre_modulation is None:
            structure = torch.zeros_like(level_codes)
            rows = [level_of(row) for row in range(self.num_ws)]
            ws = mean_latent + level_codes[:, rows]
        else:
            structure = torch.stack([m(o) for m, o in zip(self.map_to_structure, coarse)], dim=1)
            normalized = instance_norm(level_codes)
            ws = torch.stack(
                [pm(level_codes, normalized, structure) for pm in self.pre_modulation], dim=1
            )
            if self.mean_offset:
                ws = mean_latent + ws
        latent = FWLatent(ws)
        if self.fw_mode == "feature":
            latent = FWLatent(ws, features=self.image_branch(masked_image, mask))
        elif self.fw_mode == "rgb":
            latent = FWLatent(ws, rgb_features=self.image_branch(masked_image, mask))
        return InvertFillOutput(latent, coarse, level_codes, structure)
