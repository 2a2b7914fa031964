"""rosinality/stylegan2-pytorch's names, there and back (SPEC C8.1, C8.3).

style.1 .. style.n                   mapping.layers.0 .. n-1
input.input                          synthesis.blocks.4.const
conv1, to_rgb1                       synthesis.blocks.4.{conv,to_rgb}
convs.2k, convs.2k+1, to_rgbs.k      synthesis.blocks.{8*2^k}.{up_conv,conv,to_rgb}
noises.noise_i                       ....noise_const, from 4 px up
"""

import re

import torch

from inpaint_hub.convert.matching import (
    Constant,
    Wanted,
    checked_depth,
    checked_resolution,
    fitted_channels,
    highest,
    latent_sizes,
    matched,
    shapes_of,
    voted,
    widths_of,
)
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator

CONVS = re.compile(r"convs\.(\d+)\.")
STYLES = re.compile(r"style\.(\d+)\.")


def kernel(gain):
    """[4,4] outer product of [1,3,3,1], of sum `gain`."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    full = torch.outer(taps, taps)
    return full * (gain / full.sum())


def is_generator(state):
    return "input.input" in state or "conv1.conv.weight" in state or "convs.0.conv.weight" in state


def is_discriminator(state):
    return any(k.startswith(("final_linear.", "final_conv.")) for k in state) or (
        "convs.0.0.weight" in state
    )


def generator_config(state):
    """Keyword arguments of StyleGAN2Generator, from shapes.

    Raises: WrongKeysError.
    """
    last = highest(state, CONVS)
    resolution = checked_resolution(4 * 2 ** min((last + 2) // 2, 40))
    candidates = {
        4: [
            ("input.input", 1),
            ("conv1.activate.bias", 0),
            ("conv1.conv.weight", 1),
            ("conv1.conv.weight", 2),
            ("to_rgb1.conv.weight", 2),
        ]
    }
    for k in range((last + 2) // 2):
        up, conv = f"convs.{2 * k}", f"convs.{2 * k + 1}"
        candidates[8 << k] = [
            (f"{up}.activate.bias", 0),
            (f"{up}.conv.weight", 1),
            (f"{conv}.conv.weight", 1),
            (f"{conv}.conv.weight", 2),
            (f"{conv}.activate.bias", 0),
            (f"to_rgbs.{k}.conv.weight", 2),
        ]
    base, most = fitted_channels(widths_of(state, candidates))
    num_layers = checked_depth(max(highest(state, STYLES), 0))
    layers = [f"style.{i}.weight" for i in range(1, num_layers + 1)]
    modulations = [(k, 1) for k in state if k.endswith(".modulation.weight")]
    z_dim, w_dim = latent_sizes(state, layers, modulations)
    return {
        "resolution": resolution,
        "z_dim": z_dim,
        "w_dim": w_dim,
        "num_mapping_layers": num_layers,
        "channel_base": base,
        "channel_max": most,
    }


def generator_names(config):
    """{our name: (their key, leading axes their tensor has more)}; without w_avg."""
    names = {"synthesis.blocks.4.const": ("input.input", 1)}
    for i in range(config["num_mapping_layers"]):
        for kind in ("weight", "bias"):
            names[f"mapping.layers.{i}.{kind}"] = (f"style.{i + 1}.{kind}", 0)
    blocks = config["resolution"].bit_length() - 3
    convs = [("4.conv", "conv1", 0)]
    rgbs = [("4.to_rgb", "to_rgb1")]
    for k in range(blocks):
        convs += [
            (f"{8 << k}.up_conv", f"convs.{2 * k}", 2 * k + 1),
            (f"{8 << k}.conv", f"convs.{2 * k + 1}", 2 * k + 2),
        ]
        rgbs.append((f"{8 << k}.to_rgb", f"to_rgbs.{k}"))
    for ours, theirs, noise in convs:
        a = f"synthesis.blocks.{ours}"
        names |= modulated(a, theirs)
        names |= {
            f"{a}.noise_strength": (f"{theirs}.noise.weight", 1),
            f"{a}.bias": (f"{theirs}.activate.bias", 0),
            f"{a}.noise_const": (f"noises.noise_{noise}", 2),
        }
    for ours, theirs in rgbs:
        a = f"synthesis.blocks.{ours}"
        names |= modulated(a, theirs)
        names[f"{a}.bias"] = (f"{theirs}.bias", "rgb")
    return names


def modulated(ours, theirs):
    return {
        f"{ours}.conv.weight": (f"{theirs}.conv.weight", 1),
        f"{ours}.conv.affine.weight": (f"{theirs}.conv.modulation.weight", 0),
        f"{ours}.conv.affine.bias": (f"{theirs}.conv.modulation.bias", 0),
    }


def generator_wanted(config):
    shapes = shapes_of(StyleGAN2Generator, config)
    wanted = []
    for ours, (theirs, extra) in generator_names(config).items():
        shape = shapes[ours]
        their_shape = (1, *shape, 1, 1) if extra == "rgb" else (1,) * extra + shape
        wanted.append(Wanted(theirs, their_shape, ours, shape))
    return wanted


def generator_constants(config):
    constants = []
    for k in range(config["resolution"].bit_length() - 3):
        constants += [
            Constant(f"convs.{2 * k}.conv.blur.kernel", kernel(4.0)),
            Constant(f"to_rgbs.{k}.upsample.kernel", kernel(4.0)),
        ]
    return constants


def noise_groups(wanted):
    return [[w.theirs for w in wanted if w.ours.endswith("noise_const")]]


def convert_generator(state):
    """(config, {our name: tensor}); noises and w_avg may be missing there."""
    config = generator_config(state)
    wanted = generator_wanted(config)
    tensors = matched(
        state,
        wanted,
        generator_constants(config),
        f"StyleGAN2 generator of {config['resolution']} px (rosinality)",
        optional=noise_groups(wanted),
    )
    return config, tensors


def discriminator_config(state):
    last = highest(state, CONVS)
    resolution = checked_resolution(4 * 2 ** min(max(last, 0), 40))
    candidates = {}
    for k in range(last + 1):  # convs.0 is from RGB, convs.k goes from s / 2^(k-1) to s / 2^k
        r = resolution >> k
        before, after = f"convs.{k}", f"convs.{k + 1}"
        candidates[r] = (
            [("convs.0.0.weight", 0), ("convs.0.1.bias", 0)]
            if k == 0
            else [(f"{before}.conv2.1.weight", 0), (f"{before}.conv2.2.bias", 0)]
        ) + [
            (f"{after}.conv1.0.weight", 0),
            (f"{after}.conv1.0.weight", 1),
            (f"{after}.conv1.1.bias", 0),
            (f"{after}.skip.1.weight", 1),
        ]
    candidates[4] += [("final_conv.0.weight", 0), ("final_conv.1.bias", 0)]
    base, most = fitted_channels(widths_of(state, candidates))
    return {
        "resolution": resolution,
        "channel_base": base,
        "channel_max": most,
        "mask_channel": voted(state, [("convs.0.0.weight", 1)]) == 4,
    }


def discriminator_names(config):
    names = {"from_rgb.weight": "convs.0.0.weight", "from_rgb.bias": "convs.0.1.bias"}
    for k in range(config["resolution"].bit_length() - 3):
        a, b = f"blocks.{k}", f"convs.{k + 1}"
        names |= {
            f"{a}.conv.weight": f"{b}.conv1.0.weight",
            f"{a}.conv.bias": f"{b}.conv1.1.bias",
            f"{a}.down_conv.weight": f"{b}.conv2.1.weight",
            f"{a}.down_conv.bias": f"{b}.conv2.2.bias",
            f"{a}.skip.weight": f"{b}.skip.1.weight",
        }
    return names | {
        "conv.weight": "final_conv.0.weight",
        "conv.bias": "final_conv.1.bias",
        "fc.weight": "final_linear.0.weight",
        "fc.bias": "final_linear.0.bias",
        "out.weight": "final_linear.1.weight",
        "out.bias": "final_linear.1.bias",
    }


def discriminator_constants(config):
    constants = []
    for k in range(1, config["resolution"].bit_length() - 2):
        constants += [
            Constant(f"convs.{k}.conv2.0.kernel", kernel(1.0)),
            Constant(f"convs.{k}.skip.0.kernel", kernel(1.0)),
        ]
    return constants


def discriminator_wanted(config):
    shapes = shapes_of(StyleGAN2Discriminator, config)
    return [
        Wanted(theirs, shapes[ours], ours, shapes[ours])
        for ours, theirs in discriminator_names(config).items()
    ]


def convert_discriminator(state):
    config = discriminator_config(state)
    tensors = matched(
        state,
        discriminator_wanted(config),
        discriminator_constants(config),
        f"StyleGAN2 discriminator of {config['resolution']} px (rosinality)",
    )
    return config, tensors


# ---- and back ----------------------------------------------------------------------------------


def written(model, wanted, constants):
    """{their key: tensor} of one of our networks."""
    own = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    state = {w.theirs: own[w.ours].reshape(w.their_shape).clone() for w in wanted}
    return state | {c.theirs: c.values.clone() for c in constants}


def generator_state(gan):
    """State dict of rosinality's Generator, without latent_avg.

    Raises: ValueError for a generator that its code could not hold.
    """
    config = gan.config
    if config.get("mapping_lr_multiplier", 0.01) != 0.01:
        raise ValueError(
            f"mapping_lr_multiplier is {config['mapping_lr_multiplier']}, expected 0.01, which "
            "rosinality's code has built in; scale the mapping's weights first"
        )
    return written(gan, generator_wanted(config), generator_constants(config))


def discriminator_state(discriminator):
    config = discriminator.config
    return written(discriminator, discriminator_wanted(config), discriminator_constants(config))
