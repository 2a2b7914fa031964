"""StyleGAN2's mapping network z -> w (SPEC C2)."""

from torch import Tensor, nn

from inpaint_hub.stylegan2.layers import EqualLinear


class MappingNetwork(nn.Module):
    """z [N,z_dim] -> w [N,w_dim]: normalized to unit mean square, then `num_layers` leaky-ReLU
    layers."""

    def __init__(
        self, z_dim: int, w_dim: int, num_layers: int, lr_multiplier: float = 0.01
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        widths = [z_dim] + [w_dim] * num_layers
        self.layers = nn.ModuleList(
            EqualLinear(a, b, lr_multiplier=lr_multiplier, activation="lrelu")
            for a, b in zip(widths, widths[1:])
        )

    def forward(self, z: Tensor) -> Tensor:
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x = layer(x)
        return x
