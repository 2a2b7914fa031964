"""Co-modulation on our blocks: what the picture shows and what chance adds modulate together
(CoModGAN, the strongest baseline of the Dual-path poster's table; SPEC D, A7)."""

import torch
from torch import Tensor, nn

from inpaint_hub.compositing import composite
from inpaint_hub.hub import HubModel
from inpaint_hub.stylegan2.layers import EqualConv2d, EqualLinear
from inpaint_hub.stylegan2.mapping import MappingNetwork
from inpaint_hub.stylegan2.synthesis import SynthesisNetwork, channels_at


class CoModulationEncoder(nn.Module):
    """Masked picture [N,3,s,s], hole 0, and mask [N,1,s,s], 1 = hole -> global code [N,global_dim]
    and {r: feature map [N,C_r,r,r]} for r = s ... 4, the generator's skips."""

    def __init__(self, resolutions: list[int], channels: dict[int, int], global_dim: int) -> None:
        super().__init__()
        self.resolutions = resolutions[::-1]
        self.from_rgb = EqualConv2d(4, channels[resolutions[-1]], 1, activation="lrelu")
        self.convs, self.downs = nn.ModuleDict(), nn.ModuleDict()
        for r in self.resolutions:
            self.convs[str(r)] = EqualConv2d(channels[r], channels[r], 3, activation="lrelu")
            if r > 4:
                self.downs[str(r)] = EqualConv2d(
                    channels[r], channels[r // 2], 3, down=True, activation="lrelu"
                )
        self.to_global = EqualLinear(channels[4] * 16, global_dim, activation="lrelu")

    def forward(self, masked_image: Tensor, mask: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        x = self.from_rgb(torch.cat([masked_image, mask - 0.5], dim=1))
        features = {}
        for r in self.resolutions:
            features[r] = self.convs[str(r)](x)
            x = self.downs[str(r)](features[r]) if r > 4 else features[r]
        return self.to_global(x.flatten(1)), features


class CoModGANGenerator(HubModel):
    """Masked picture, mask and z [N,z_dim] -> completed picture [N,3,s,s], known pixels untouched.

    Differs from CoModGAN: 1 = hole in the mask the encoder sees, and the 4 px block starts from
    StyleGAN2's learned constant plus the encoder's 4 px map.

    Args:
        resolution: s in px, a power of two of at least 8.
        z_dim, w_dim, num_mapping_layers, channel_base, channel_max, mapping_lr_multiplier: as
            StyleGAN2Generator's.
        global_dim: size of the encoder's code, which is joined to w.
    """

    def __init__(
        self,
        *,
        resolution: int = 256,
        z_dim: int = 512,
        w_dim: int = 512,
        global_dim: int = 1024,
        num_mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        mapping_lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        self.resolution, self.z_dim, self.w_dim = resolution, z_dim, w_dim
        self.global_dim = global_dim
        self.mapping = MappingNetwork(z_dim, w_dim, num_mapping_layers, mapping_lr_multiplier)
        self.synthesis = SynthesisNetwork(resolution, w_dim + global_dim, channel_base, channel_max)
        channels = {r: channels_at(r, channel_base, channel_max) for r in self.resolutions}
        self.encoder = CoModulationEncoder(self.resolutions, channels, global_dim)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    @property
    def num_ws(self) -> int:
        return self.synthesis.num_ws

    @property
    def resolutions(self) -> list[int]:
        """[4, 8, ..., s]."""
        return self.synthesis.resolutions

    def co_modulate(self, w: Tensor, global_code: Tensor) -> Tensor:
        """w [N,w_dim], global_code [N,global_dim] -> ws [N,L,w_dim + global_dim],
        which each layer's affine turns into its style."""
        joint = torch.cat([w, global_code.to(w.dtype)], dim=1)
        return joint[:, None].expand(-1, self.num_ws, -1)

    def forward(
        self,
        masked_image: Tensor,
        mask: Tensor,
        z: Tensor,
        truncation_psi: float = 1.0,
        noise_mode: str = "const",
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> Tensor:
        """masked_image [N,3,s,s] in [-1,1] with hole 0, mask [N,1,s,s], 1 = hole -> the picture,
        hole filled, unbounded around [-1,1] there; truncation_psi < 1 pulls w toward w_avg.

        Raises: ValueError for a picture that is not s by s.
        """
        if masked_image.shape[-2:] != (self.resolution, self.resolution):
            raise ValueError(
                f"masked_image has shape {tuple(masked_image.shape)}, expected "
                f"[N,3,{self.resolution},{self.resolution}] for this generator; cut or resize it, "
                "or use the pipeline, which takes pictures of any size"
            )
        global_code, features = self.encoder(masked_image, mask)
        w = self.mapping(z)
        if truncation_psi != 1.0:
            w = self.w_avg.to(w.dtype).lerp(w, truncation_psi)
        ws = self.co_modulate(w, global_code)
        generated = self.synthesis(ws, features, noise_mode=noise_mode, generator=generator)
        return composite(masked_image, generated, mask)

    @torch.no_grad()
    def update_w_avg(
        self, num_samples: int = 10_000, generator: torch.Generator | None = None
    ) -> None:
        """Set w_avg to the mean of `num_samples` mapped latents; called after training, never by
        forward."""
        z = torch.randn(num_samples, self.z_dim, generator=generator).to(self.w_avg)
        chunks = [self.mapping(chunk).float().sum(dim=0) for chunk in z.split(1000)]
        self.w_avg.copy_(torch.stack(chunks).sum(dim=0) / num_samples)
