"""One file -> networks -> one folder."""

import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from inpaint_hub.convert import nvlabs, psp, rosinality
from inpaint_hub.convert.card import card
from inpaint_hub.convert.errors import (
    ConversionError,
    UnknownLayoutError,
    WrongKeysError,
    shown,
)
from inpaint_hub.convert.files import read_checkpoint, sha256_of
from inpaint_hub.convert.matching import built
from inpaint_hub.convert.plain_data import Attributes, PersistentObject, StoredTensor
from inpaint_hub.inversion import EncoderTrunk, PSPEncoder
from inpaint_hub.pipelines import PSPPipeline, StyleGAN2Pipeline
from inpaint_hub.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator

AVERAGES = ("g_ema", "G_ema", "params_ema")
RAW = ("g", "G", "generator", "params")
DISCRIMINATORS = ("d", "D", "discriminator")
WRAPPERS = ("state_dict", "model", "net", "module", "weights", "model_state_dict")
MODULE = re.compile(r"(^|\.)module\.")  # DataParallel's
NOT_NEEDED = re.compile(
    r"optim|^ada_aug_p$|^augment_pipe$|discriminator_state_dict|^mean_path", re.I
)
NUM_W_SAMPLES = 10_000
RAW_VARIANT = "raw"


@dataclass
class Conversion:
    """What a file gave.

    layout: whose it is, in words. networks: {component: network}. raw: the generator before
    averaging, where the file has both. pipeline: class that joins the components, None where they
    make none. notes: what a user should know. set_aside: keys that were understood and not needed.
    """

    layout: str
    networks: dict
    pipeline: type | None = None
    raw: StyleGAN2Generator | None = None
    notes: list = field(default_factory=list)
    set_aside: list = field(default_factory=list)


def convert(source, encoder_type=None):
    """The networks in a checkpoint, with exactly its numbers.

    Args:
        source: path of a file of rosinality's, NVIDIA's, pSp's, e4e's or ArcFace's layout.
        encoder_type: "psp" or "e4e", for a file that does not say which it is.

    Raises: FileNotFoundError; ConversionError (UnsafeFileError, DamagedFileError,
    UnknownLayoutError, WrongKeysError), a ValueError, that says what to do.
    """
    tree, _ = read_checkpoint(source)
    try:
        return converted(tree, encoder_type)
    except ConversionError as error:
        raise type(error)(f"{str(source)!r}: {error}") from error


def converted(tree, encoder_type=None):
    if isinstance(tree, PersistentObject):
        tree = {"G_ema" if "mapping" in nvlabs.part(tree, "_modules") else "D": tree}
    if not isinstance(tree, dict) or not tree:
        raise UnknownLayoutError(f"the file holds {shown(tree)}, expected a dictionary of networks")
    tree = grouped(tree)
    if isinstance(tree.get("state_dict"), dict):
        state, _ = network_state(tree["state_dict"], "state_dict")
        if any(k.startswith(("encoder.", "decoder.")) for k in state):
            return converted_psp(tree, state, encoder_type)
    if is_state(tree):
        state, _ = network_state(tree, "the file")
        if any(k.startswith(("encoder.", "decoder.")) for k in state):
            return converted_psp({"state_dict": tree}, state, encoder_type)
        return converted_single(state)
    return converted_roles(tree)


def is_state(value):
    """Whether this is a state dict: tensors by name, and nothing else but counters or None."""
    return (
        isinstance(value, dict)
        and any(isinstance(v, StoredTensor) for v in value.values())
        and not any(isinstance(v, (dict, PersistentObject)) for v in value.values())
        and set(value) - {"latent_avg"} != set()
    )


def grouped(tree):
    """Flat files (safetensors) of several networks, by the networks' names."""
    roles = (*AVERAGES, *RAW, *DISCRIMINATORS)
    if not all(isinstance(v, StoredTensor) for v in tree.values()):
        return tree
    names = [k for k in tree if isinstance(k, str) and k.partition(".")[0] in roles and "." in k]
    if not names:
        return tree
    result = {k: v for k, v in tree.items() if k not in names}
    for name in names:
        role, _, rest = name.partition(".")
        result.setdefault(role, {})[rest] = tree[name]
    return result


def network_state(value, where):
    """({key: StoredTensor}, attributes) of a state dict or a persistent network."""
    if isinstance(value, PersistentObject):
        return nvlabs.flattened(value)
    if not isinstance(value, dict):
        raise UnknownLayoutError(f"{shown(where)} is {shown(value)}, expected a state dict")
    state = {}
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, StoredTensor):
            raise UnknownLayoutError(
                f"{shown(where)} holds {shown(tensor)} as {shown(name)}, expected only tensors"
            )
        plain_name = MODULE.sub(r"\1", name)
        if plain_name in state:
            raise WrongKeysError(
                f"{shown(where)} holds {shown(plain_name)} with and without 'module.'"
            )
        state[plain_name] = tensor
    return state, {}


def latent_average(tree):
    """latent_avg beside the networks, as a tensor; None without one."""
    stored = tree.get("latent_avg")
    if stored is None:
        return None
    if not isinstance(stored, StoredTensor) or not stored.is_floating_point or not stored.shape:
        raise UnknownLayoutError(f"'latent_avg' is {shown(stored)}, expected a tensor [w_dim]")
    latent = stored.load().float()
    if not torch.isfinite(latent).all() or not latent.numel():
        raise WrongKeysError("'latent_avg' holds numbers that are not finite, or none")
    return latent


def holds_tensors(value, depth=0):
    if isinstance(value, (StoredTensor, PersistentObject)):
        return True
    if depth > 4 or not isinstance(value, (dict, list, tuple)):
        return False
    items = list(value.values() if isinstance(value, dict) else value)
    return any(holds_tensors(item, depth + 1) for item in items[:1000])


def put_aside(tree, used):
    """Keys of the file that need no reading; what holds tensors must be known by its name.

    Raises: WrongKeysError for others.
    """
    rest = [k for k in tree if k not in used]
    unknown = [k for k in rest if holds_tensors(tree[k]) and not NOT_NEEDED.search(str(k))]
    if unknown:
        raise WrongKeysError(
            f"left over: {', '.join(map(shown, unknown))}, which hold tensors and are none of the "
            f"networks known here ({', '.join((*AVERAGES, *RAW, *DISCRIMINATORS))})"
        )
    return [k for k in rest if tree[k] is not None]


# ---- generators --------------------------------------------------------------------------------


def generator_of(state, attributes, where):
    """(config, tensors, layout's name) of either layout."""
    if rosinality.is_generator(state):
        return *rosinality.convert_generator(state), "rosinality/stylegan2-pytorch"
    if nvlabs.is_generator(state) or nvlabs.is_stylegan3(state, attributes):
        return *nvlabs.convert_generator(state, attributes), "NVIDIA"
    raise UnknownLayoutError(
        f"{shown(where)} is no StyleGAN2 generator of a known layout; its keys begin with "
        f"{[shown(k) for k in list(state)[:4]]}"
    )


def finished_generator(config, tensors, latent_avg, notes):
    """The network; what the file does not hold is made: constant noise (seeded), and w_avg, the
    mean of 10,000 mapped latents (seeded)."""
    random = torch.Generator().manual_seed(0)
    missing = []
    for r in (4 << k for k in range(config["resolution"].bit_length() - 2)):
        for layer in ("up_conv", "conv") if r > 4 else ("conv",):
            name = f"synthesis.blocks.{r}.{layer}.noise_const"
            if name not in tensors:
                missing.append(name)
                tensors[name] = torch.randn(r, r, generator=random)
    if missing:
        notes.append(
            "The file holds no constant noise: it was drawn here, with seed 0. Pictures with "
            "constant noise differ from the original program's in small detail."
        )
    if latent_avg is not None:
        mean = latent_avg.reshape(-1, latent_avg.shape[-1]).mean(dim=0)
        if mean.shape != (config["w_dim"],):
            raise WrongKeysError(
                f"'latent_avg' has shape {tuple(latent_avg.shape)}, expected ({config['w_dim']},)"
            )
        tensors["w_avg"] = mean
    known = "w_avg" in tensors
    if not known:
        tensors["w_avg"] = torch.zeros(config["w_dim"])
    gan = built(StyleGAN2Generator, config, tensors, "generator")
    if not known:
        gan.update_w_avg(NUM_W_SAMPLES, torch.Generator().manual_seed(0))
        notes.append(
            f"The file holds no latent average: w_avg is the mean of {NUM_W_SAMPLES} latents "
            "mapped here, with seed 0."
        )
    return gan


def discriminator_of(state, attributes, where):
    if rosinality.is_discriminator(state):
        config, tensors = rosinality.convert_discriminator(state)
    elif nvlabs.is_discriminator(state):
        config, tensors = nvlabs.convert_discriminator(state, attributes)
    else:
        raise UnknownLayoutError(
            f"{shown(where)} is no StyleGAN2 discriminator of a known layout; its keys begin with "
            f"{[shown(k) for k in list(state)[:4]]}"
        )
    return built(StyleGAN2Discriminator, config, tensors, "discriminator")


def converted_roles(tree):
    """A file of networks by their roles: g, d, g_ema (rosinality) or G, D, G_ema (NVIDIA)."""
    present = {k: v for k, v in tree.items() if isinstance(v, (dict, PersistentObject)) and v}
    pick = lambda names: next((n for n in names if n in present), None)  # noqa: E731
    average, raw, judge = pick(AVERAGES), pick(RAW), pick(DISCRIMINATORS)
    used = {"latent_avg", *filter(None, (average, raw, judge))}
    if not (average or raw or judge):
        if wrapper := pick(WRAPPERS):
            put_aside(tree, {wrapper, "latent_avg"})
            inner = dict(present[wrapper]) if isinstance(present[wrapper], dict) else None
            if inner is None:
                return converted(present[wrapper])
            state, _ = network_state(inner, wrapper)
            return converted_single(state, latent_average(tree))
        raise UnknownLayoutError(
            f"the file holds {[shown(k) for k in list(tree)[:8]]}, expected networks by the names "
            f"{', '.join((*AVERAGES, *RAW, *DISCRIMINATORS))}, or a state dict"
        )
    aside = put_aside(tree, used)
    notes, networks, raw_gan, layout = [], {}, None, ""
    latent_avg = latent_average(tree)
    if chosen := average or raw:
        config, tensors, layout = generator_of(*network_state(present[chosen], chosen), chosen)
        networks["gan"] = finished_generator(config, tensors, latent_avg, notes)
        if not average:
            notes.append(f"{chosen!r} is not an average of weights: the file has none.")
    if average and raw:
        own, tensors, _ = generator_of(*network_state(present[raw], raw), raw)
        if own != config:
            raise WrongKeysError(
                f"{shown(raw)} is a generator of {own}, {shown(average)} one of {config}"
            )
        raw_gan = finished_generator(own, tensors, latent_avg, [])
        notes.append(
            f"`gan/model.{RAW_VARIANT}.safetensors` is {raw!r}, the generator before its weights "
            f'were averaged: StyleGAN2Generator.from_pretrained(folder, subfolder="gan", '
            f'variant="{RAW_VARIANT}").'
        )
    if judge:
        state, attributes = network_state(present[judge], judge)
        networks["discriminator"] = discriminator_of(state, attributes, judge)
        layout = layout or (
            "rosinality/stylegan2-pytorch" if rosinality.is_discriminator(state) else "NVIDIA"
        )
    pipeline = StyleGAN2Pipeline if "gan" in networks else None
    return Conversion(layout, networks, pipeline, raw_gan, notes, aside)


def converted_single(state, latent_avg=None):
    """One state dict, by its keys."""
    if "latent_avg" in state:
        latent_avg = latent_average({"latent_avg": state.pop("latent_avg")})
    if psp.is_trunk(state):
        config, tensors, aside = psp.convert_trunk(state)
        trunk = built(EncoderTrunk, config, tensors, "trunk")
        notes = [
            "A trunk alone: training starts an encoder from it "
            "(train_accelerate.py --pretrained_backbone)."
        ]
        return Conversion("ArcFace (IR-SE-50)", {"trunk": trunk}, None, None, notes, aside)
    if rosinality.is_generator(state) or nvlabs.is_generator(state):
        notes = []
        config, tensors, layout = generator_of(state, {}, "the file")
        networks = {"gan": finished_generator(config, tensors, latent_avg, notes)}
        return Conversion(layout, networks, StyleGAN2Pipeline, None, notes, [])
    if rosinality.is_discriminator(state) or nvlabs.is_discriminator(state):
        judge = discriminator_of(state, {}, "the file")
        return Conversion("StyleGAN2 discriminator", {"discriminator": judge})
    if nvlabs.is_stylegan3(state, {}):
        nvlabs.convert_generator(state, {})
    raise UnknownLayoutError(
        f"the file holds tensors of no known network: {[shown(k) for k in list(state)[:8]]}; "
        "expected a StyleGAN2 generator or discriminator (rosinality, NVIDIA), pSp, e4e or ArcFace"
    )


# ---- pSp ---------------------------------------------------------------------------------------


def options_of(tree):
    options = tree.get("opts", {})
    return options if isinstance(options, (dict, Attributes)) else {}


def converted_psp(tree, state, encoder_type):
    """encoder.*, decoder.*, latent_avg and opts."""
    aside = put_aside(tree, {"state_dict", "latent_avg", "opts"})
    parts = {
        name: {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}
        for name in ("encoder", "decoder")
    }
    extra = [k for k in state if not k.startswith(("encoder.", "decoder."))]
    if "latent_avg" in extra and "latent_avg" not in tree:
        tree = tree | {"latent_avg": state["latent_avg"]}
        extra.remove("latent_avg")
    if extra:
        raise WrongKeysError(f"left over: {', '.join(map(shown, extra[:8]))} of the state dict")
    if not parts["decoder"]:
        raise WrongKeysError(
            "missing: 'decoder.*', the generator; for the trunk alone, save the encoder's state "
            "dict by itself (input_layer.*, body.*)"
        )
    notes = []
    config, tensors = rosinality.convert_generator(parts["decoder"])
    latent_avg = latent_average(tree)
    gan = finished_generator(config, tensors, latent_avg, notes)
    if not parts["encoder"]:
        return Conversion("pSp decoder", {"gan": gan}, StyleGAN2Pipeline, None, notes, aside)
    options = options_of(tree)
    kind = encoder_kind(options, encoder_type, notes)
    own, tensors = psp.convert_encoder(parts["encoder"], config, kind)
    starts = options.get("start_from_latent_avg", latent_avg is not None)
    if starts is False or starts is None:
        tensors["w_avg"] = torch.zeros(own["w_dim"])
        notes.append("The encoder's codes are not offsets from a mean latent.")
    elif latent_avg is None:
        tensors["w_avg"] = gan.w_avg.clone()
    else:
        tensors["w_avg"], split = psp.split_mean(latent_avg, tensors, gan.num_ws)
        if split:
            notes.append("The latent average differs by row: the heads' biases hold the rest.")
    encoder = built(PSPEncoder, own, tensors, "encoder")
    if not own["mask_channel"]:
        notes.append(
            "The encoder is not shown the mask: it takes a gray hole for part of the picture. It "
            "was trained on whole pictures; train it further on masked ones, or start a search "
            "from its codes."
        )
    layout = (
        "e4e (omertov/encoder4editing)"
        if own.get("delta_rows")
        else ("pSp (eladrich/pixel2style2pixel)")
    )
    networks = {"encoder": encoder, "gan": gan}
    return Conversion(layout, networks, PSPPipeline, None, notes, aside)


def encoder_kind(options, encoder_type, notes):
    """Class of their encoder: both have the same keys, and say which in their options."""
    if encoder_type is not None:
        return psp.DELTA_ENCODER if encoder_type == "e4e" else "GradualStyleEncoder"
    if isinstance(options.get("encoder_type"), str):
        return options["encoder_type"]
    if "stylegan_size" in options and "output_size" not in options:
        return psp.DELTA_ENCODER
    if "output_size" not in options:
        notes.append(
            "The file does not say whether its encoder is pSp's or e4e's, whose keys are the same: "
            "it was read as pSp's. If it is e4e's, convert it with --encoder_type e4e."
        )
    return "GradualStyleEncoder"


# ---- folders -----------------------------------------------------------------------------------


def convert_to_folder(source, folder, encoder_type=None, overwrite=False):
    """Convert a file and write what it holds as a folder that from_pretrained reads; returns the
    Conversion.

    The folder appears whole or not at all.

    Raises: those of convert; FileExistsError where there is something already.
    """
    source, folder = Path(source), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
        raise FileExistsError(
            f"{str(folder)!r} is there already; give another folder, or --overwrite"
        )
    conversion = convert(source, encoder_type)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
        made = Path(place) / "made"
        save(conversion, made, source)
        if folder.is_dir():
            shutil.rmtree(folder)
        elif folder.exists():
            folder.unlink()
        made.rename(folder)
    return conversion


def save(conversion, folder, source):
    folder.mkdir()
    joined = {} if conversion.pipeline is None else dict(conversion.networks)
    joined.pop("discriminator", None)  # no part of the pipelines that only make pictures
    if joined:
        conversion.pipeline(**joined).save_pretrained(folder)
    for name, network in conversion.networks.items():
        if name not in joined:
            network.save_pretrained(folder / name)
    if conversion.raw is not None:
        conversion.raw.save_pretrained(folder / "gan", variant=RAW_VARIANT)
    for name in conversion.networks:
        (folder / name / "README.md").unlink(missing_ok=True)  # ours, of other terms
    text = card(conversion, source.name, source.stat().st_size, sha256_of(source))
    (folder / "README.md").write_text(text, "utf-8")
