"""One-shot latent prediction (Lahiri et al., "Prior Guided GAN Based Semantic Inpainting", CVPR
2020; SPEC D), the baseline of the Dual-path poster's table: a network in place of Yeh's search."""

from torch import Tensor, nn

from inpaint_hub.inversion.backbone import build_backbone, encoder_input
from inpaint_hub.inversion.encoder import InversionEncoder
from inpaint_hub.inversion.style_heads import MapToStyle, check_input_size
from inpaint_hub.stylegan2.latents import FWLatent


class LahiriEncoder(InversionEncoder):
    """Masked picture [N,3,H,H] in [-1,1], hole 0, and mask [N,1,H,H], 1 = hole -> z [N,z_dim], the
    noise the generator would make the whole picture from.

    Differs from the paper, whose code is not public: the backbone is pSp's, of which only the
    coarsest level is read.

    Args:
        resolution: side s of the generator's pictures in px.
        z_dim: size of z.
        input_size: side e the picture is resized to; min(s, 256) where not given.
        backbone: irse50 | resnet34 | small; backbone_width: channels of its first stage.
        mask_channel: show the mask as fourth channel.
        style_channels: width of the head.
    """

    def __init__(
        self,
        *,
        resolution: int = 256,
        z_dim: int = 512,
        input_size: int | None = None,
        backbone: str = "small",
        backbone_width: int = 32,
        mask_channel: bool = True,
        style_channels: int = 512,
    ) -> None:
        super().__init__()
        self.resolution, self.mask_channel = resolution, mask_channel
        self.input_size = input_size or min(resolution, 256)
        check_input_size(self.input_size)
        trunk = build_backbone(backbone, 4 if mask_channel else 3, backbone_width).trunk
        self.trunk = trunk
        self.to_z = MapToStyle(self.input_size // 16, trunk.channels[-1], style_channels, z_dim)

    def latent_of(self, code: Tensor, gan: nn.Module | None = None) -> FWLatent:
        """The predicted z, mapped by the generator."""
        return FWLatent(gan.map(code.to(gan.dtype)))

    def forward(self, masked_image: Tensor, mask: Tensor) -> Tensor:
        x = encoder_input(masked_image, mask, self.input_size, self.mask_channel)
        return self.to_z(self.trunk(x)[-1])
