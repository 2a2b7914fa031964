"""DualPathInpainter: the feed-forward path, with the inversion path's features fused into its
decoder."""

from torch import Tensor, nn

from inpaint_hub.compositing import reduced
from inpaint_hub.dualpath.deformable_fusion import (
    DEFORM_VERSIONS,
    DeformableAlignment,
    FeatureFusion,
)
from inpaint_hub.dualpath.feed_forward import (
    DILATIONS,
    FeedForward,
    OuterScale,
    decoder_widths,
)
from inpaint_hub.hub import HubModel
from inpaint_hub.stylegan2.growth import check_growth
from inpaint_hub.stylegan2.synthesis import channels_at

FUSIONS = ("deformable", "concat", "none")


def offset_groups(channels: int, groups: int | None) -> int:
    """How many groups of `channels` have offsets of their own: 8, or 1 below 64 channels, where
    `groups` is None (SPEC B4).

    Raises: ValueError for groups that do not divide the channels.
    """
    if groups is None:
        return 8 if channels >= 64 and channels % 8 == 0 else 1
    if groups < 1 or channels % groups:
        raise ValueError(
            f"groups is {groups}, expected a divisor of {channels}, the channels of a fused scale; "
            "choose 1, 2, 4 or 8, or change channels"
        )
    return groups


class DualPathInpainter(HubModel):
    """Masked picture [N,3,s,s] in [-1,1], hole 0, mask [N,1,s,s], 1 = hole, and the generator's
    features F_s -> picture [N,3,s,s] in [-1,1] (Dual-path Fig. 2; SPEC B3).

    Args:
        resolution: s in px, a power of two from 32 to 1024.
        channels: of the features at s px (64 in SPEC B3); s/2 has twice, s/4 and s/8 four times as
            many.
        dilations: of the blocks in the middle, one each; 1, 2, 4, 8 twice where not given.
        channel_base, channel_max: those of the generator, which say how wide F_s is.
        fusion: deformable | concat (features meet unaligned) | none (the feed-forward path alone).
        fusion_resolutions: where F_s enters; some of s/8, s/4, s/2, s. All but s where not given:
            there the generator's features are mere texture, and the sampling costs most.
        deform: v2 (with modulation) | v1.
        groups: of channels with offsets of their own; 8, or 1 below 64 channels, where not given.
        outer_scales: how many times the generator's resolution is doubled to s. Widths, dilations
            and fusions are then those of the path at the generator's resolution, and each scale
            outside it has `channels` (ours, SPEC G9).

    Raises: ValueError for sizes or modes that do not exist.
    """

    def __init__(
        self,
        *,
        resolution: int = 256,
        channels: int = 64,
        dilations: list[int] | None = None,
        channel_base: int = 32768,
        channel_max: int = 512,
        fusion: str = "deformable",
        fusion_resolutions: list[int] | None = None,
        deform: str = "v2",
        groups: int | None = None,
        outer_scales: int = 0,
    ) -> None:
        super().__init__()
        if resolution not in [2**k for k in range(5, 11)]:
            raise ValueError(
                f"resolution is {resolution}, expected 32, 64, 128, 256, 512 or 1024: that of the "
                "generator"
            )
        for name, value, known in (
            ("fusion", fusion, FUSIONS),
            ("deform", deform, DEFORM_VERSIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}, expected one of {known}")
        if not 0 <= outer_scales or resolution >> outer_scales < 32:
            raise ValueError(
                f"outer_scales is {outer_scales}, expected 0 or more, and at least 32 px of "
                f"{resolution} to be left when it is halved so often"
            )
        self.resolution, self.outer_scales = resolution, outer_scales
        inner = resolution >> outer_scales
        self.feed_forward = FeedForward(inner, channels, dilations or DILATIONS)
        for _ in range(outer_scales):
            self.feed_forward = OuterScale(self.feed_forward, channels)
        widths = decoder_widths(inner, channels)
        self.fusions = nn.ModuleDict()
        for r in _checked(fusion_resolutions, list(widths)) if fusion != "none" else ():
            alignment = None
            if fusion == "deformable":
                groups_here = offset_groups(widths[r], groups)
                alignment = DeformableAlignment(widths[r], groups_here, deform)
            semantic_channels = channels_at(r, channel_base, channel_max)
            self.fusions[str(r)] = FeatureFusion(widths[r], semantic_channels, alignment)

    @property
    def fusion_resolutions(self) -> list[int]:
        """Sides of the feature maps F_s that forward reads, in px, coarse to fine."""
        return [int(r) for r in self.fusions]

    def grow_from(self, smaller: nn.Module) -> None:
        """Copy an inpainter of half the resolution: with one outer scale less, all of it, and the
        new scale adds nothing yet (SPEC G9); else each layer to its place from the coarsest scale
        on, and what does not fit the generator's features there begins anew (SPEC G7).

        Raises: ValueError where resolution or layers do not fit.
        """
        if self.outer_scales == smaller.outer_scales + 1:
            check_growth(self, smaller, free=["outer_scales"])
            self.feed_forward.inner.load_state_dict(smaller.feed_forward.state_dict())
            self.fusions.load_state_dict(smaller.fusions.state_dict())
            return
        check_growth(self, smaller, free=["fusion_resolutions"])
        state = smaller.state_dict()
        for r in smaller.fusion_resolutions:
            for name in [n for n in state if n.startswith(f"fusions.{r}.")]:
                state[name.replace(f"fusions.{r}.", f"grown.{2 * r}.", 1)] = state.pop(name)
        state = {name.replace("grown.", "fusions."): value for name, value in state.items()}
        own = self.state_dict()
        fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
        self.load_state_dict(fitting, strict=False)

    def forward(
        self,
        masked_image: Tensor,
        mask: Tensor,
        semantic_features: dict[int, Tensor] | None = None,
        return_offsets: bool = False,
    ) -> Tensor | tuple[Tensor, dict[int, Tensor]]:
        """Args: semantic_features {r: [N,C_r,r,r]}, as SynthesisNetwork.forward returns them with
        return_features; more resolutions than fusion_resolutions may be there. Returns the picture,
        or with return_offsets (picture, {r: offset [N,2Kg,r,r] in px}), {} without deformable
        fusion.

        Raises: ValueError for a picture that is not s by s, and for features that are missing.
        """
        size = (self.resolution, self.resolution)
        if masked_image.shape[-2:] != size:
            raise ValueError(
                f"masked_image has shape {tuple(masked_image.shape)}, expected "
                f"[N,3,{size[0]},{size[0]}] for this inpainter; cut or resize it, or use the "
                "pipeline, which takes pictures of any size"
            )
        semantic_features = semantic_features or {}
        if missing := set(self.fusion_resolutions) - set(semantic_features):
            raise ValueError(
                f"semantic_features hold {sorted(semantic_features)} px, {sorted(missing)} px are "
                f"missing; call gan.synthesis(ws, return_features=True) of a "
                f"{self.resolution >> self.outer_scales} px generator"
            )
        _, seen_mask = reduced(masked_image, mask, self.resolution >> self.outer_scales)
        offsets = {}

        def fuse(x: Tensor) -> Tensor:
            r = int(x.shape[-1])  # a number while it is traced, too
            if str(r) in self.fusions:
                x, offset = self.fusions[str(r)](x, semantic_features[r], seen_mask)
                if offset is not None:
                    offsets[r] = offset
            return x

        generated = self.feed_forward(masked_image, mask, fuse)
        return (generated, offsets) if return_offsets else generated


def _checked(fusion_resolutions: list[int] | None, possible: list[int]) -> list[int]:
    if fusion_resolutions is None:
        return possible[:-1]
    if not fusion_resolutions or set(fusion_resolutions) - set(possible):
        raise ValueError(
            f"fusion_resolutions is {fusion_resolutions}, expected some of {possible}; "
            'for no fusion at all use fusion="none"'
        )
    return sorted(fusion_resolutions)
