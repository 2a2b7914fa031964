"""Back to rosinality's layout, for the many programs that read it."""

from pathlib import Path

import torch

from inpaint_hub.convert.rosinality import discriminator_state, generator_state
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator


def export_rosinality(folder, file, overwrite=False):
    """Write a pipeline's generator (and discriminator, where the folder has one) as a .pt file of
    tensors alone: g_ema, latent_avg, d, and g where there is a generator before averaging.

    Raises: FileNotFoundError without a generator; FileExistsError; ValueError for a generator that
    rosinality's code could not hold.
    """
    folder, file = Path(folder), Path(file)
    if file.exists() and not overwrite:
        raise FileExistsError(f"{str(file)!r} is there already; give another name, or --overwrite")
    gan = StyleGAN2Generator.from_pretrained(folder, subfolder="gan")
    checkpoint = {"g_ema": generator_state(gan), "latent_avg": gan.w_avg.detach().clone()}
    if (folder / "gan" / "model.raw.safetensors").is_file():
        raw = StyleGAN2Generator.from_pretrained(folder, subfolder="gan", variant="raw")
        checkpoint["g"] = generator_state(raw)
    if (folder / "discriminator" / "config.json").is_file():
        judge = StyleGAN2Discriminator.from_pretrained(folder, subfolder="discriminator")
        checkpoint["d"] = discriminator_state(judge)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    torch.save(checkpoint, partial)
    partial.replace(file)
    return sorted(checkpoint)
