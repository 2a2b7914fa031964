"""StyleGAN2's mapping network z -> w (SPEC C2)."""

from torch import nn

from inpaint_hub.stylegan2.layers import EqualLinear


class MappingNetwork(nn.Module):
    """z [N,z_dim] -> w [N,w_dim]: normalised to unit mean square, then `num_layers` leaky-ReLU
    layers."""

    def __init__(self, z_dim, w_dim, num_layers, lr_multiplier=0.01):
        super().__init__()
        self.z_dim = z_dim
        widths = [z_dim] + [w_dim] * num_layers
        self.layers = nn.ModuleList(
            EqualLinear(a, b, lr_multiplier=lr_multiplier, activation="lrelu")
            for a, b in zip(widths, widths[1:])
        )

    def forward(self, z):
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x = layer(x)
        return x
