"""pSp's and e4e's checkpoints, and the trunk of ArcFace's that their encoders begin as (SPEC A2).

eladrich/pixel2style2pixel and omertov/encoder4editing write the same keys:

    encoder.input_layer, encoder.body.k    backbone.trunk.stem, backbone.trunk.stages.s.u
    encoder.latlayer1, latlayer2           backbone.lateral_middle, lateral_fine
    encoder.styles.i                       map_to_style.i
    decoder.*                              a generator in rosinality's layout
    latent_avg, beside the state dict      w_avg
"""

import re

from inpaint_hub.convert.errors import UnknownLayoutError, WrongKeysError, shown
from inpaint_hub.convert.matching import (
    Wanted,
    highest,
    is_counter,
    matched,
    shapes_of,
    voted,
)
from inpaint_hub.inversion import EncoderTrunk, PSPEncoder

DEPTHS = (3, 4, 14, 3)  # IR-50: units by stage
STYLES = re.compile(r"styles\.(\d+)\.")
BODY = re.compile(r"body\.(\d+)\.")
HEAD_CONVS = re.compile(r"styles\.0\.convs\.(\d+)\.weight")
DELTA_ENCODER = "Encoder4Editing"
PYRAMID_ENCODERS = ("GradualStyleEncoder", DELTA_ENCODER)


def is_trunk(state):
    return "input_layer.0.weight" in state or "body.0.res_layer.1.weight" in state


def has_heads(state):
    return any(k.startswith(("styles.", "latlayer")) for k in state)


def their_name(ours):
    """Key in their encoder of one of our names (backbone., map_to_style.)."""
    if m := re.fullmatch(r"(?:backbone\.)?trunk\.stem\.(.+)", ours):
        return f"input_layer.{m[1]}"
    if m := re.fullmatch(r"(?:backbone\.)?trunk\.stages\.(\d+)\.(\d+)\.(.+)", ours):
        unit = sum(DEPTHS[: int(m[1])]) + int(m[2])
        rest = re.sub(r"^residual\.5\.down\.", "res_layer.5.fc1.", m[3])
        rest = re.sub(r"^residual\.5\.up\.", "res_layer.5.fc2.", rest)
        rest = re.sub(r"^residual\.", "res_layer.", rest)
        return f"body.{unit}." + re.sub(r"^shortcut\.", "shortcut_layer.", rest)
    if m := re.fullmatch(r"map_to_style\.(\d+)\.convs\.(\d+)\.(.+)", ours):
        return f"styles.{m[1]}.convs.{2 * int(m[2])}.{m[3]}"
    if m := re.fullmatch(r"map_to_style\.(\d+)\.linear\.(.+)", ours):
        return f"styles.{m[1]}.linear.{m[2]}"
    if m := re.fullmatch(r"backbone\.lateral_(middle|fine)\.(.+)", ours):
        return f"latlayer{1 if m[1] == 'middle' else 2}.{m[2]}"
    raise AssertionError(ours)


def wanted_of(network_class, config):
    shapes = shapes_of(network_class, config)
    return [
        Wanted(their_name(ours), shape, ours, shape)
        for ours, shape in shapes.items()
        if ours != "w_avg"
    ]


def completed(state, wanted, network, hint=""):
    """{our name: tensor}; counters of batches, which old files lack, are 0 then."""
    counters = [[w.theirs] for w in wanted if is_counter(w.theirs)]
    tensors = matched(state, wanted, network=network, hint=hint, optional=counters)
    for w in wanted:
        if w.ours not in tensors:
            tensors[w.ours] = tensors[w.ours.rpartition(".")[0] + ".weight"].new_zeros(()).long()
    return tensors


def trunk_config(state):
    """in_channels and width of the IR-SE-50 trunk, from shapes.

    Raises: WrongKeysError, UnknownLayoutError.
    """
    width = voted(
        state,
        [("input_layer.0.weight", 0), ("input_layer.1.weight", 0), ("input_layer.2.weight", 0)]
        + [("body.0.res_layer.0.weight", 0), ("body.1.res_layer.0.weight", 0)],
    )
    channels = voted(state, [("input_layer.0.weight", 1)])
    if width is None or channels is None:
        raise WrongKeysError("missing: 'input_layer.0.weight'")
    if channels not in (3, 4):
        raise UnknownLayoutError(
            f"'input_layer.0.weight' has shape {state['input_layer.0.weight'].shape}: the encoder "
            f"sees {channels} channels, expected 3 (a picture) or 4 (and a mask); networks that "
            "read segmentations, sketches or two pictures fill no holes"
        )
    units = highest(state, BODY) + 1
    if units != sum(DEPTHS):
        raise UnknownLayoutError(
            f"the trunk has {units} units, expected the {sum(DEPTHS)} of IR-SE-50"
        )
    if width < 16 or width % 16 or width > 4096:
        raise UnknownLayoutError(
            f"'input_layer.0.weight' has shape {state['input_layer.0.weight'].shape}, expected a "
            "first size that is a multiple of 16"
        )
    return {"in_channels": channels, "width": width}


def convert_trunk(state):
    """(config of EncoderTrunk, tensors, what was set aside) of ArcFace's IR-SE-50 or an encoder's
    trunk."""
    config = trunk_config(state)
    aside = [k for k in state if k.startswith(("output_layer.", "styles.", "latlayer"))]
    rest = {k: v for k, v in state.items() if k not in aside}
    return config, completed(rest, wanted_of(EncoderTrunk, config), "IR-SE-50 trunk"), aside


def encoder_config(state, decoder, encoder_type):
    """Keyword arguments of PSPEncoder, from shapes; decoder: the generator's configuration.

    Raises: WrongKeysError, UnknownLayoutError.
    """
    if encoder_type not in PYRAMID_ENCODERS or "linear.weight" in state:
        raise UnknownLayoutError(
            f"the encoder is a {shown(encoder_type)}"
            + (" with one linear layer for all style vectors" if "linear.weight" in state else "")
            + f", expected one of {PYRAMID_ENCODERS}, which have a style head for each"
        )
    trunk = trunk_config(state)
    rows = highest(state, STYLES) + 1
    expected = 2 * decoder["resolution"].bit_length() - 4
    if rows != expected:
        raise WrongKeysError(
            f"the encoder has {rows} style heads (styles.0 to styles.{rows - 1}), expected "
            f"{expected} for a decoder of {decoder['resolution']} px"
        )
    convs = highest(state, HEAD_CONVS) // 2 + 1
    if not 1 <= convs <= 6:
        raise WrongKeysError(
            f"'styles.0' has {convs} convolutions, expected 4, for pictures of 256 px"
        )
    heads = range(rows)
    style_channels = voted(
        state,
        [(f"styles.{i}.convs.0.weight", 0) for i in heads]
        + [(f"styles.{i}.linear.weight", 1) for i in heads],
    )
    w_dim = voted(state, [(f"styles.{i}.linear.weight", 0) for i in heads])
    if style_channels is None or w_dim is None:
        raise WrongKeysError("missing: 'styles.0.convs.0.weight', 'styles.0.linear.weight'")
    if w_dim != decoder["w_dim"]:
        raise WrongKeysError(
            f"'encoder.styles.0.linear.weight' makes codes of {w_dim}, expected "
            f"{decoder['w_dim']} of the decoder"
        )
    config = {
        "resolution": decoder["resolution"],
        "w_dim": w_dim,
        "input_size": 16 << convs,
        "backbone": "irse50",
        "backbone_width": trunk["width"],
        "mask_channel": trunk["in_channels"] == 4,
        "style_channels": style_channels,
    }
    return config | ({"delta_rows": True} if encoder_type == DELTA_ENCODER else {})


def convert_encoder(state, decoder, encoder_type):
    """(config, {our name: tensor}) without w_avg."""
    config = encoder_config(state, decoder, encoder_type)
    return config, completed(state, wanted_of(PSPEncoder, config), f"pSp encoder ({encoder_type})")


def split_mean(latent_avg, tensors, rows):
    """(w_avg [w_dim], whether rows differed) of a latent average [w_dim] or [L,w_dim].

    Our encoder has one mean for all rows: where theirs differ, what differs goes into the heads'
    biases, which leaves every code as it is.
    """
    w_dim = latent_avg.shape[-1]
    mean = latent_avg.reshape(-1, w_dim)
    first = mean[0]
    if len(mean) == 1 or (mean == first).all():
        return first.clone(), False
    if len(mean) != rows:
        raise WrongKeysError(
            f"'latent_avg' has shape {tuple(latent_avg.shape)}, expected one row or {rows}"
        )
    for row in range(1, rows):
        name = f"map_to_style.{row}.linear.bias"
        tensors[name] = tensors[name] + (mean[row] - first)
    return first.clone(), True
