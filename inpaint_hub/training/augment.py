"""Adaptive discriminator augmentation, ADA (Karras et al., NeurIPS 2020; SPEC C6).

Differs from ADA: one bicubic sampling with reflected borders in place of the wavelet-filtered
supersampling, and R1 is taken at the augmented picture, because sampling has no second derivative.
"""

import math

import torch
import torch.nn.functional as F


def draw(function, rng, count):
    """[N,count] numbers of torch.rand or torch.randn, row n from the torch.Generator rng[n]."""
    return torch.stack([function(count, generator=g, device=g.device) for g in rng])


def _matrices(rows):
    """Nested lists of [N] tensors and numbers -> [N,R,C]."""
    like = next(x for row in rows for x in row if torch.is_tensor(x))
    full = [[x if torch.is_tensor(x) else torch.full_like(like, x) for x in row] for row in rows]
    return torch.stack([torch.stack(row, dim=-1) for row in full], dim=-2)


def _translation(x, y):
    return _matrices([[1, 0, x], [0, 1, y], [0, 0, 1]])


def _scaling(x, y):
    return _matrices([[x, 0, 0], [0, y, 0], [0, 0, 1]])


def _rotation(angle):
    cos, sin = angle.cos(), angle.sin()
    return _matrices([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def geometric_matrices(p, size, rng):
    """[N,3,3] in coordinates from -1 to 1: flips, quarter turns and whole-pixel shifts; then
    scaling, rotation, stretching, rotation and a shift, each with probability p."""
    u, n = draw(torch.rand, rng, 14).unbind(1), draw(torch.randn, rng, 4).unbind(1)
    none = torch.zeros_like(u[0])

    def sometimes(chance, value, otherwise=none, probability=p):
        return torch.where(chance < probability, value, otherwise)

    # Two rotations: together they are drawn with probability p.
    rotate = 1 - math.sqrt(1 - p)
    flip = sometimes(u[0], 1 - 2 * (u[1] * 2).floor(), none + 1)
    matrix = _scaling(flip, 1)
    matrix = matrix @ _rotation(sometimes(u[2], math.pi / 2 * (u[3] * 4).floor()))
    shift = [((u[i] * 2 - 1) * 0.125 * size).round() * 2 / size for i in (4, 5)]
    matrix = matrix @ _translation(sometimes(u[6], shift[0]), sometimes(u[6], shift[1]))
    scale = sometimes(u[7], 2 ** (0.2 * n[0]), none + 1)
    matrix = matrix @ _scaling(scale, scale)
    turn = sometimes(u[8], (u[9] * 2 - 1) * math.pi, probability=rotate)
    matrix = matrix @ _rotation(turn)
    stretch = sometimes(u[10], 2 ** (0.2 * n[1]), none + 1)
    matrix = matrix @ _scaling(stretch, 1 / stretch)
    turn = sometimes(u[11], (u[12] * 2 - 1) * math.pi, probability=rotate)
    matrix = matrix @ _rotation(turn)
    return matrix @ _translation(sometimes(u[13], 0.25 * n[2]), sometimes(u[13], 0.25 * n[3]))


def color_matrices(p, rng):
    """[N,3,4], linear part and offset for RGB in [-1,1]: brightness, contrast, luma flip, hue and
    saturation, each with probability p."""
    u, n = draw(torch.rand, rng, 7).unbind(1), draw(torch.randn, rng, 3).unbind(1)
    eye = torch.eye(3).to(u[0])
    gray = torch.full((3, 3), 1 / 3).to(u[0])  # projection on the gray axis
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]).to(u[0]) / math.sqrt(3)
    none = torch.zeros_like(u[0])

    def sometimes(chance, value, otherwise=none):
        return torch.where(chance < p, value, otherwise)[:, None, None]

    brightness = sometimes(u[0], 0.2 * n[0])
    contrast = sometimes(u[1], 2 ** (0.5 * n[1]), none + 1)
    flip = sometimes(u[2], (u[3] * 2).floor())
    angle = sometimes(u[4], (u[5] * 2 - 1) * math.pi)
    saturation = sometimes(u[6], 2 ** n[2], none + 1)
    # Rodrigues' rotation about the gray axis; the gray axis itself is kept by hue and saturation.
    hue = angle.cos() * eye + angle.sin() * cross + (1 - angle.cos()) * gray
    saturate = gray + saturation * (eye - gray)
    linear = saturate @ hue @ (eye - 2 * flip * gray)
    offset = (linear * contrast) @ torch.ones(3, 1).to(u[0]) * brightness
    return torch.cat([linear * contrast, offset], dim=2)


def augment(images, p, rng, mask=None):
    """images [N,3,s,s] in [-1,1] -> the same, each operation applied with probability p; with mask
    [N,1,s,s] -> (images, mask), moved alike.

    rng: N torch.Generators. Differentiable once with respect to the images.
    """
    if p <= 0:
        return images if mask is None else (images, mask)
    matrix = geometric_matrices(p, images.shape[-1], rng).to(images.device)
    grid = F.affine_grid(matrix[:, :2], images.shape, align_corners=False)
    moved = F.grid_sample(
        images.float(), grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )
    color = color_matrices(p, rng).to(images.device)
    images = torch.einsum("nij,njhw->nihw", color[:, :, :3], moved) + color[:, :, 3, None, None]
    if mask is None:
        return images
    # The nearest value: a mask is 0 or 1.
    return images, F.grid_sample(
        mask.float(), grid, mode="nearest", padding_mode="reflection", align_corners=False
    )


def differentiable_augment(images, rng, mask=None):
    """images [N,3,s,s] in [-1,1] -> (images,) changed in brightness and contrast and shifted by up
    to an eighth, zeros moving in; with mask [N,1,s,s] -> (images, mask), moved alike (Zhao et al.,
    "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020).

    rng: N torch.Generators. Differs from theirs: saturation stays.
    """
    u = draw(torch.rand, rng, 4).to(images.device)
    brightness, contrast = (u[:, i, None, None, None] for i in (0, 1))
    images = images + (brightness - 0.5)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * (contrast + 0.5) + mean
    reach = images.shape[-1] // 8
    shifts = ((2 * reach + 1) * u[:, 2:]).long().tolist()

    def moved(x):
        padded, size = F.pad(x, [reach] * 4), x.shape[-1]
        cut = [p[:, y : y + size, z : z + size] for p, (y, z) in zip(padded, shifts)]
        return torch.stack(cut)

    return (moved(images),) if mask is None else (moved(images), moved(mask))


class AdaptiveProbability:
    """p in [0,1], raised where the discriminator is too sure of training pictures.

    The sign of D(real), averaged over `interval` steps, is held at `target`: p moves by the share
    of `images_per_unit` that was seen meanwhile. State: p and the running sum.
    """

    def __init__(self, target=0.6, interval=4, images_per_unit=500_000):
        self.target, self.interval, self.images_per_unit = target, interval, images_per_unit
        self.p, self.sign_sum, self.steps = 0.0, 0.0, 0

    def update(self, mean_sign, num_images):
        """mean_sign: mean of sign(D(real)) over all `num_images` pictures of one step."""
        self.sign_sum += mean_sign
        self.steps += 1
        if self.steps == self.interval:
            too_sure = self.sign_sum / self.steps > self.target
            change = num_images * self.interval / self.images_per_unit
            self.p = min(max(self.p + (change if too_sure else -change), 0.0), 1.0)
            self.sign_sum, self.steps = 0.0, 0

    def state_dict(self):
        return {"p": self.p, "sign_sum": self.sign_sum, "steps": self.steps}

    def load_state_dict(self, state):
        self.p, self.sign_sum, self.steps = state["p"], state["sign_sum"], state["steps"]
