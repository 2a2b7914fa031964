"""NVIDIA's names (stylegan2-ada-pytorch, and the StyleGAN2 of the stylegan3 repository; SPEC C8.2).

mapping.fc0 ..                       mapping.layers.0 ..
mapping.w_avg                        w_avg
synthesis.b4.const                   synthesis.blocks.4.const
synthesis.b{r}.{conv0,conv1,torgb}   synthesis.blocks.{r}.{up_conv,conv,to_rgb}
"""

import re

from inpaint_hub.convert.errors import UnknownLayoutError, UnsafeFileError, shown
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
from inpaint_hub.convert.plain_data import MAX_TENSORS, PersistentObject, StoredTensor
from inpaint_hub.convert.restricted_pickle import MAX_NESTING
from inpaint_hub.convert.rosinality import kernel
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator

BLOCKS = re.compile(r"synthesis\.b(\d+)\.")
D_BLOCKS = re.compile(r"b(\d+)\.")
LAYERS = re.compile(r"mapping\.fc(\d+)\.")
FILTER = "resample_filter"


def flattened(network):
    """({key: StoredTensor}, {path.attribute: plain value}) of a persistent network.

    Raises: UnknownLayoutError, UnsafeFileError for what is no tree of modules.
    """
    state, attributes = {}, {}
    waiting = [("", network, 0)]
    while waiting:
        prefix, module, depth = waiting.pop()
        if not isinstance(module, PersistentObject):
            raise UnknownLayoutError(f"{shown(prefix)} is {shown(module)}, expected a module")
        if depth > MAX_NESTING or len(state) > MAX_TENSORS or len(attributes) > MAX_TENSORS * 20:
            raise UnsafeFileError("the network's modules are too many or nested too deep")
        for kind in ("_parameters", "_buffers"):
            for name, tensor in part(module, kind).items():
                if tensor is None:
                    continue
                if not isinstance(tensor, StoredTensor) or not isinstance(name, str):
                    raise UnknownLayoutError(
                        f"{shown(prefix + str(name))} is {shown(tensor)}, expected a tensor"
                    )
                state[prefix + name] = tensor
        for name, value in module.state.items():
            if isinstance(value, (str, int, float, bool)) or value is None:
                attributes[f"{prefix}{name}"] = value
        attributes[f"{prefix}class_name"] = module.class_name
        for name, child in part(module, "_modules").items():
            if child is not None:
                waiting.append((f"{prefix}{name}.", child, depth + 1))
    return state, attributes


def part(module, name):
    value = module.state.get(name, {})
    if not isinstance(value, dict):
        raise UnknownLayoutError(f"a module's {name} is {shown(value)}, expected a dictionary")
    return value


def is_generator(state):
    return any(name.startswith(("synthesis.b", "mapping.fc")) for name in state)


def is_discriminator(state):
    return "b4.out.weight" in state or any(name.endswith("fromrgb.weight") for name in state)


def is_stylegan3(state, attributes):
    return any(re.match(r"synthesis\.(input\.|L\d+_)", name) for name in state)


def checked_settings(attributes):
    """Raises: UnknownLayoutError for settings that our StyleGAN2 does not have."""
    for name, value in attributes.items():
        last = name.rpartition(".")[2]
        if last == "architecture" and value not in ("skip", "resnet"):
            raise UnknownLayoutError(
                f"{shown(name)} is {shown(value)}, expected StyleGAN2's own (generator 'skip', "
                "discriminator 'resnet'); NVIDIA's cifar configuration has another discriminator"
            )
        if last == "activation" and value not in ("lrelu", "linear"):
            raise UnknownLayoutError(f"{shown(name)} is {shown(value)}, expected 'lrelu'")
        if last == "c_dim" and value:
            raise UnknownLayoutError(
                f"{shown(name)} is {value}: the network is conditional, expected an unconditional "
                "one (c_dim 0)"
            )
        if last == "img_channels" and value not in (3, 4):
            raise UnknownLayoutError(
                f"{shown(name)} is {value}, expected 3 (or 4 of a discriminator)"
            )


def generator_config(state, attributes):
    resolution = checked_resolution(highest(state, BLOCKS))
    candidates = {}
    for r in resolutions(resolution):
        block = f"synthesis.b{r}"
        candidates[r] = [
            (f"{block}.conv1.bias", 0),
            (f"{block}.conv1.weight", 0),
            (f"{block}.conv1.weight", 1),
            (f"{block}.conv0.weight", 0),
            (f"{block}.conv0.bias", 0),
            (f"{block}.torgb.weight", 1),
            (f"{block}.const", 0),
        ]
    base, most = fitted_channels(widths_of(state, candidates))
    num_layers = checked_depth(highest(state, LAYERS) + 1)
    layers = [f"mapping.fc{i}.weight" for i in range(num_layers)]
    affines = [(k, 1) for k in state if k.endswith(".affine.weight")]
    z_dim, w_dim = latent_sizes(state, layers, [*affines, ("mapping.w_avg", 0)])
    gain = attributes.get("mapping.fc0.bias_gain", 0.01)
    if not isinstance(gain, (int, float)) or not 0 < gain <= 1:
        raise UnknownLayoutError(f"the mapping's learning rate is {shown(gain)}, expected 0.01")
    return {
        "resolution": resolution,
        "z_dim": z_dim,
        "w_dim": w_dim,
        "num_mapping_layers": num_layers,
        "channel_base": base,
        "channel_max": most,
        "mapping_lr_multiplier": float(gain),
    }


def resolutions(resolution):
    return [4 << k for k in range(resolution.bit_length() - 2)]


def generator_names(config):
    names = {"w_avg": "mapping.w_avg", "synthesis.blocks.4.const": "synthesis.b4.const"}
    for i in range(config["num_mapping_layers"]):
        for kind in ("weight", "bias"):
            names[f"mapping.layers.{i}.{kind}"] = f"mapping.fc{i}.{kind}"
    for r in resolutions(config["resolution"]):
        layers = {"conv": "conv1", "to_rgb": "torgb"} | ({} if r == 4 else {"up_conv": "conv0"})
        for ours, theirs in layers.items():
            a, b = f"synthesis.blocks.{r}.{ours}", f"synthesis.b{r}.{theirs}"
            names |= {
                f"{a}.conv.weight": f"{b}.weight",
                f"{a}.conv.affine.weight": f"{b}.affine.weight",
                f"{a}.conv.affine.bias": f"{b}.affine.bias",
                f"{a}.bias": f"{b}.bias",
            }
            if ours != "to_rgb":
                names |= {
                    f"{a}.noise_strength": f"{b}.noise_strength",
                    f"{a}.noise_const": f"{b}.noise_const",
                }
    return names


def convert_generator(state, attributes):
    """(config, {our name: tensor}); w_avg and noises may be missing there."""
    if is_stylegan3(state, attributes):
        raise UnknownLayoutError(
            "this is a StyleGAN3 generator (stylegan3-t or -r), expected StyleGAN2; the same "
            "repository's stylegan2-*.pkl can be converted"
        )
    checked_settings(attributes)
    config = generator_config(state, attributes)
    shapes = shapes_of(StyleGAN2Generator, config)
    names = generator_names(config)
    wanted = [Wanted(t, shapes[o], o, shapes[o]) for o, t in names.items()]
    noiseless = [w.theirs for w in wanted if w.ours.endswith(("noise_const", "noise_strength"))]
    consts = [key for key in noiseless if key.endswith("noise_const")]
    tensors = matched(
        state,
        wanted,
        filters(state),
        f"StyleGAN2 generator of {config['resolution']} px (NVIDIA)",
        hint="a conditional generator has mapping.embed, one of another architecture lacks torgb"
        if any(k.startswith("mapping.embed") for k in state)
        else "",
        optional=[noiseless, consts, ["mapping.w_avg"]],
    )
    for w in wanted:
        if w.ours.endswith("noise_strength") and w.ours not in tensors:
            tensors[w.ours] = state["synthesis.b4.const"].load().float().new_zeros(())
    return config, tensors


def filters(state):
    """The resampling filters that the file holds, which sum to 1 there; 1x1 where nothing is
    resampled by them."""
    return [Constant(k, kernel(1.0)) for k in state if k == FILTER or k.endswith(f".{FILTER}")]


def discriminator_config(state, attributes):
    resolution = checked_resolution(highest(state, D_BLOCKS))
    candidates = {}
    for r in resolutions(resolution):
        above, block = f"b{2 * r}", f"b{r}"
        candidates[r] = [
            (f"{above}.conv1.weight", 0),
            (f"{above}.conv1.bias", 0),
            (f"{block}.conv0.weight", 0),
            (f"{block}.conv0.weight", 1),
            (f"{block}.skip.weight", 1),
            (f"{block}.fromrgb.weight", 0),
        ]
    candidates[4] += [("b4.conv.weight", 0), ("b4.conv.bias", 0)]
    base, most = fitted_channels(widths_of(state, candidates))
    config = {
        "resolution": resolution,
        "channel_base": base,
        "channel_max": most,
        "mask_channel": voted(state, [(f"b{resolution}.fromrgb.weight", 1)]) == 4,
    }
    group = attributes.get("b4.mbstd.group_size")
    if isinstance(group, int) and not isinstance(group, bool) and 1 <= group <= 1024:
        config["mbstd_group_size"] = group
    return config


def discriminator_names(config):
    resolution = config["resolution"]
    names = {f"from_rgb.{kind}": f"b{resolution}.fromrgb.{kind}" for kind in ("weight", "bias")}
    for k, r in enumerate(reversed(resolutions(resolution)[1:])):
        a, b = f"blocks.{k}", f"b{r}"
        names |= {
            f"{a}.conv.weight": f"{b}.conv0.weight",
            f"{a}.conv.bias": f"{b}.conv0.bias",
            f"{a}.down_conv.weight": f"{b}.conv1.weight",
            f"{a}.down_conv.bias": f"{b}.conv1.bias",
            f"{a}.skip.weight": f"{b}.skip.weight",
        }
    for ours, theirs in {"conv": "conv", "fc": "fc", "out": "out"}.items():
        names |= {f"{ours}.{kind}": f"b4.{theirs}.{kind}" for kind in ("weight", "bias")}
    return names


def convert_discriminator(state, attributes):
    checked_settings(attributes)
    config = discriminator_config(state, attributes)
    shapes = shapes_of(StyleGAN2Discriminator, config)
    names = discriminator_names(config)
    tensors = matched(
        state,
        [Wanted(theirs, shapes[ours], ours, shapes[ours]) for ours, theirs in names.items()],
        filters(state),
        f"StyleGAN2 discriminator of {config['resolution']} px (NVIDIA)",
        hint="a conditional discriminator has mapping.*"
        if any(k.startswith("mapping.") for k in state)
        else "",
    )
    return config, tensors
