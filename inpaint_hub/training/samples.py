"""Sample grids: rows of pictures as one image."""

import torch
from diffusers.utils import make_image_grid
from PIL import Image

from inpaint_hub.images import to_pixels


def sample_grid(rows: list[torch.Tensor]) -> Image.Image:
    """List of [N,3,s,s] tensors in [-1,1], one per row -> PIL grid of len(rows) x N pictures."""
    pictures = [Image.fromarray(p) for p in to_pixels(torch.cat([r.float() for r in rows]))]
    return make_image_grid(pictures, rows=len(rows), cols=len(rows[0]))
