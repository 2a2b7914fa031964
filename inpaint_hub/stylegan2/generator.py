"""StyleGAN2 generator G as a Hub model (Karras et al., CVPR 2020; SPEC C)."""

import torch
from torch import Tensor, nn

from inpaint_hub.hub import HubModel
from inpaint_hub.stylegan2.growth import check_growth
from inpaint_hub.stylegan2.mapping import MappingNetwork
from inpaint_hub.stylegan2.synthesis import SynthesisNetwork, channels_at


class StyleGAN2Generator(HubModel):
    """z [N,z_dim] -> picture [N,3,s,s], unbounded around [-1,1].

    Args:
        resolution: s in px, a power of two of at least 8.
        z_dim, w_dim: sizes of the input and of the intermediate latent.
        num_mapping_layers: fully connected layers from z to w.
        channel_base, channel_max: channels at r px are min(channel_base / r, channel_max); 32768 is
            the paper's configuration F, 16384 that of NVIDIA's released 256 px models.
        mapping_lr_multiplier: learning rate of the mapping relative to the rest.
    """

    def __init__(
        self,
        *,
        resolution: int = 256,
        z_dim: int = 512,
        w_dim: int = 512,
        num_mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        mapping_lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        self.resolution, self.z_dim, self.w_dim = resolution, z_dim, w_dim
        self.channel_base, self.channel_max = channel_base, channel_max
        self.mapping = MappingNetwork(z_dim, w_dim, num_mapping_layers, mapping_lr_multiplier)
        self.synthesis = SynthesisNetwork(resolution, w_dim, channel_base, channel_max)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    @property
    def num_ws(self) -> int:
        return self.synthesis.num_ws

    @property
    def resolutions(self) -> list[int]:
        """[4, 8, ..., s]."""
        return self.synthesis.resolutions

    def channels_at(self, resolution: int) -> int:
        return channels_at(resolution, self.channel_base, self.channel_max)

    def map(self, z: Tensor, truncation_psi: float = 1.0) -> Tensor:
        """z [N,z_dim] -> ws [N,L,w_dim], one w for all layers; psi < 1 pulls toward w_avg."""
        w = self.mapping(z)
        if truncation_psi != 1.0:
            w = self.w_avg.to(w.dtype).lerp(w, truncation_psi)
        return w[:, None].expand(-1, self.num_ws, -1)

    def forward(
        self,
        z: Tensor,
        truncation_psi: float = 1.0,
        noise_mode: str = "const",
        generator: torch.Generator | list[torch.Generator] | None = None,
        mixing_z: Tensor | None = None,
        crossover: Tensor | None = None,
        return_ws: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """mixing_z [N,z_dim] with crossover [N] (int): sample n's style vectors from row
        crossover[n] on come from mixing_z (style mixing regularization). return_ws: (picture, ws
        [N,L,w_dim])."""
        ws = self.map(z, truncation_psi)
        if mixing_z is not None:
            ws = mix_styles(ws, self.map(mixing_z, truncation_psi), crossover)
        if return_ws:  # whoever differentiates by ws needs the very tensor, also where autocast's
            ws = ws.float()  # results are handed out in fp32
        picture = self.synthesis(ws, noise_mode=noise_mode, generator=generator)
        return (picture, ws) if return_ws else picture

    @torch.no_grad()
    def grow_from(self, smaller: nn.Module) -> None:
        """Copy a generator of half the resolution; the picture is then its picture, up-sampled,
        until the new block learns to add to it (SPEC G7).

        Raises: ValueError where resolution or layers do not fit.
        """
        check_growth(self, smaller)
        state = smaller.state_dict()
        missing, unexpected = self.load_state_dict(state, strict=False)
        assert not unexpected, unexpected
        self.synthesis.blocks[str(self.resolution)].to_rgb.conv.weight.zero_()

    @torch.no_grad()
    def w_statistics(
        self, num_samples: int = 10_000, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of w, each [w_dim] float32, over `num_samples` mapped z ~
        N(0, I)."""
        z = torch.randn(num_samples, self.z_dim, generator=generator).to(self.w_avg)
        w = torch.cat([self.mapping(chunk) for chunk in z.split(1000)]).float()
        return w.mean(dim=0), w.std(dim=0)

    @torch.no_grad()
    def update_w_avg(
        self, num_samples: int = 10_000, generator: torch.Generator | None = None
    ) -> None:
        """Set w_avg to the mean of `num_samples` mapped latents; called after training, never by
        forward."""
        self.w_avg.copy_(self.w_statistics(num_samples, generator)[0])


def mix_styles(ws: Tensor, others: Tensor, crossover: Tensor) -> Tensor:
    """Style mixing (Karras et al., CVPR 2019): row by row of ws [N,L,w_dim], from row crossover[n]
    on those of `others`; crossover [N] (int)."""
    row = torch.arange(ws.shape[1], device=ws.device)
    keep = row[None, :, None] < crossover.to(ws.device)[:, None, None]
    return torch.where(keep, ws, others)
