"""Files as other programs write them, at tiny size: made here from the published keys and shapes.

Nothing of inpaint_hub is imported: what these functions say of a layout is said a second time.
"""

import argparse
import collections
import math
import pickle
import sys
import types
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def widths(size, base, most):
    return {4 << k: min(base // (4 << k), most) for k in range(size.bit_length() - 2)}


class Normal:
    """Tensors drawn one after another from a seed."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape, scale=1.0, shift=0.0):
        return torch.randn(shape, generator=self.generator) * scale + shift


# ---- rosinality/stylegan2-pytorch --------------------------------------------------------------


def rosinality_generator(size=32, w=16, n_mlp=2, base=256, most=16, noises=True, seed=0):
    """State dict of its Generator."""
    draw, c = Normal(seed), widths(size, base, most)
    state = collections.OrderedDict()
    for i in range(1, n_mlp + 1):
        state[f"style.{i}.weight"] = draw(w, w, scale=100)
        state[f"style.{i}.bias"] = draw(w, scale=10)
    state["input.input"] = draw(1, c[4], 4, 4)

    def modulated(name, inputs, outputs, kernel):
        state[f"{name}.conv.weight"] = draw(1, outputs, inputs, kernel, kernel)
        state[f"{name}.conv.modulation.weight"] = draw(inputs, w)
        state[f"{name}.conv.modulation.bias"] = draw(inputs, scale=0.1, shift=1)

    def styled(name, inputs, outputs, up=False):
        modulated(name, inputs, outputs, 3)
        if up:
            state[f"{name}.conv.blur.kernel"] = FIR * 4
        state[f"{name}.noise.weight"] = draw(1, scale=0.1)
        state[f"{name}.activate.bias"] = draw(outputs, scale=0.1)

    def to_rgb(name, inputs, up=True):
        state[f"{name}.bias"] = draw(1, 3, 1, 1, scale=0.1)
        if up:
            state[f"{name}.upsample.kernel"] = FIR * 4
        modulated(name, inputs, 3, 1)

    styled("conv1", c[4], c[4])
    to_rgb("to_rgb1", c[4], up=False)
    for k, r in enumerate(list(c)[1:]):
        styled(f"convs.{2 * k}", c[r // 2], c[r], up=True)
        styled(f"convs.{2 * k + 1}", c[r], c[r])
    for k, r in enumerate(list(c)[1:]):
        to_rgb(f"to_rgbs.{k}", c[r])
    if noises:
        for i in range(2 * len(c) - 1):
            r = 4 << ((i + 1) // 2)
            state[f"noises.noise_{i}"] = draw(1, 1, r, r)
    state._metadata = collections.OrderedDict({"": {"version": 1}})  # as state_dict() leaves it
    return state


def rosinality_discriminator(size=32, base=256, most=16, channels=3, seed=1):
    draw, c = Normal(seed), widths(size, base, most)
    state = collections.OrderedDict()
    state["convs.0.0.weight"] = draw(c[size], channels, 1, 1)
    state["convs.0.1.bias"] = draw(c[size], scale=0.1)
    for k in range(1, len(c)):
        r = size >> (k - 1)
        name = f"convs.{k}"
        state[f"{name}.conv1.0.weight"] = draw(c[r], c[r], 3, 3)
        state[f"{name}.conv1.1.bias"] = draw(c[r], scale=0.1)
        state[f"{name}.conv2.0.kernel"] = FIR
        state[f"{name}.conv2.1.weight"] = draw(c[r // 2], c[r], 3, 3)
        state[f"{name}.conv2.2.bias"] = draw(c[r // 2], scale=0.1)
        state[f"{name}.skip.0.kernel"] = FIR
        state[f"{name}.skip.1.weight"] = draw(c[r // 2], c[r], 1, 1)
    state["final_conv.0.weight"] = draw(c[4], c[4] + 1, 3, 3)
    state["final_conv.1.bias"] = draw(c[4], scale=0.1)
    state["final_linear.0.weight"] = draw(c[4], c[4] * 16)
    state["final_linear.0.bias"] = draw(c[4], scale=0.1)
    state["final_linear.1.weight"] = draw(1, c[4])
    state["final_linear.1.bias"] = draw(1, scale=0.1)
    return state


def rosinality_training(**sizes):
    """A checkpoint of its train.py: three networks, two optimizers, a Namespace."""
    shared = {k: v for k, v in sizes.items() if k in ("size", "base", "most")}
    parameter = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    return {
        "g": rosinality_generator(seed=7, **sizes),
        "d": rosinality_discriminator(**shared),
        "g_ema": rosinality_generator(**sizes),
        "g_optim": optimizer.state_dict(),
        "d_optim": optimizer.state_dict(),
        "args": argparse.Namespace(path="data", iter=800000, size=32, betas=[0.0, 0.99]),
        "ada_aug_p": 0.0,
    }


def data_parallel(state):
    return collections.OrderedDict((f"module.{k}", v) for k, v in state.items())


# ---- NVIDIA ------------------------------------------------------------------------------------

SOURCE = "raise RuntimeError('source code of this pickle was executed')\n"


def reconstruct(meta):
    raise AssertionError("only its name is pickled")


class Persistent:
    """Pickles as NVIDIA's persistent classes do."""

    def __init__(self, class_name, parameters=None, buffers=None, modules=None, **attributes):
        self.class_name = class_name
        self.state = {
            "training": False,
            "_parameters": {k: nn.Parameter(v) for k, v in (parameters or {}).items()},
            "_buffers": buffers or {},
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": collections.OrderedDict(),
            "_modules": collections.OrderedDict(modules or {}),
            **attributes,
        }

    def __reduce__(self):
        meta = {
            "type": "class",
            "version": 6,
            "module_src": SOURCE,
            "class_name": self.class_name,
            "state": self.state,
        }
        return reconstruct, (meta,)


class EasyDict(dict):
    pass


@contextmanager
def nvidia_modules():
    """Modules by whose names NVIDIA's pickles name things."""
    names = {
        "torch_utils.persistence": ("_reconstruct_persistent_obj", reconstruct),
        "dnnlib.util": ("EasyDict", EasyDict),
    }
    before = {}
    for path, (name, value) in names.items():
        for part in (path.partition(".")[0], path):
            before.setdefault(part, sys.modules.get(part))
            sys.modules[part] = types.ModuleType(part)
        setattr(sys.modules[path], name, value)
        before[value] = (value.__module__, value.__qualname__)
        value.__module__, value.__qualname__ = path, name
    try:
        yield
    finally:
        for part, module in before.items():
            if not isinstance(part, str):
                part.__module__, part.__qualname__ = module
            elif module is None:
                del sys.modules[part]
            else:
                sys.modules[part] = module


def nvidia_pickle(networks, protocol=4):
    """Bytes of a network pickle."""
    with nvidia_modules():
        settings = EasyDict(class_name="training.dataset.ImageFolderDataset", path="data.zip")
        everything = {"training_set_kwargs": settings, "augment_pipe": None, **networks}
        return pickle.dumps(everything, protocol)


def linear(draw, inputs, outputs, bias=0.0, lr=1.0, activation="linear"):
    return Persistent(
        "FullyConnectedLayer",
        {"weight": draw(outputs, inputs, scale=1 / lr), "bias": draw(outputs, scale=0.1) + bias},
        activation=activation,
        weight_gain=lr / math.sqrt(inputs),
        bias_gain=lr,
    )


def nvidia_generator(
    size=32,
    z=16,
    w=16,
    n_mlp=2,
    base=256,
    most=16,
    noise=True,
    w_avg=True,
    fir=FIR,
    lr=0.01,
    c_dim=0,
    seed=0,
):
    draw, c = Normal(seed), widths(size, base, most)

    def layer(inputs, outputs, r, up):
        buffers = {"resample_filter": fir} | ({"noise_const": draw(r, r)} if noise else {})
        own = {"weight": draw(outputs, inputs, 3, 3), "bias": draw(outputs, scale=0.1)}
        own["weight"] = own["weight"].to(memory_format=torch.channels_last)
        return Persistent(
            "SynthesisLayer",
            own | ({"noise_strength": draw(scale=0.1)} if noise else {}),
            buffers,
            {"affine": linear(draw, w, inputs, bias=1.0)},
            resolution=r,
            up=up,
            use_noise=noise,
            activation="lrelu",
            conv_clamp=256,
        )

    blocks = {}
    for r, width in c.items():
        parts = {} if r == 4 else {"conv0": layer(c[r // 2], width, r, 2)}
        parts["conv1"] = layer(width, width, r, 1)
        parts["torgb"] = Persistent(
            "ToRGBLayer",
            {"weight": draw(3, width, 1, 1), "bias": draw(3, scale=0.1)},
            {},
            {"affine": linear(draw, w, width, bias=1.0)},
            conv_clamp=256,
        )
        blocks[f"b{r}"] = Persistent(
            "SynthesisBlock",
            {"const": draw(width, 4, 4)} if r == 4 else {},
            {"resample_filter": fir},
            parts,
            architecture="skip",
        )
    layers = {
        f"fc{i}": linear(draw, z if i == 0 else w, w, lr=lr, activation="lrelu")
        for i in range(n_mlp)
    }
    average = {"w_avg": draw(w, scale=0.3)} if w_avg else {}
    return Persistent(
        "Generator",
        modules={
            "synthesis": Persistent("SynthesisNetwork", modules=blocks, img_channels=3),
            "mapping": Persistent("MappingNetwork", {}, average, layers, c_dim=0),
        },
        c_dim=c_dim,
        img_channels=3,
        img_resolution=size,
    )


def nvidia_discriminator(size=32, base=256, most=16, channels=3, architecture="resnet", seed=1):
    draw, c = Normal(seed), widths(size, base, most)

    def conv(inputs, outputs, kernel, bias=True, activation="lrelu", down=1):
        own = {"weight": draw(outputs, inputs, kernel, kernel)}
        own |= {"bias": draw(outputs, scale=0.1)} if bias else {}
        return Persistent(
            "Conv2dLayer", own, {"resample_filter": FIR}, activation=activation, down=down
        )

    blocks = {}
    for r in reversed(list(c)[1:]):
        parts = {"fromrgb": conv(channels, c[r], 1)} if r == size else {}
        parts |= {"conv0": conv(c[r], c[r], 3), "conv1": conv(c[r], c[r // 2], 3, down=2)}
        if architecture == "resnet":
            parts["skip"] = conv(c[r], c[r // 2], 1, bias=False, activation="linear", down=2)
        blocks[f"b{r}"] = Persistent(
            "DiscriminatorBlock",
            {},
            {"resample_filter": FIR},
            parts,
            architecture=architecture,
            img_channels=channels,
        )
    blocks["b4"] = Persistent(
        "DiscriminatorEpilogue",
        modules={
            "mbstd": Persistent("MinibatchStdLayer", group_size=8, num_channels=1),
            "conv": conv(c[4] + 1, c[4], 3),
            "fc": linear(draw, c[4] * 16, c[4], activation="lrelu"),
            "out": linear(draw, c[4], 1),
        },
        architecture=architecture,
    )
    return Persistent("Discriminator", modules=blocks, c_dim=0, img_channels=channels)


# ---- pSp, e4e ----------------------------------------------------------------------------------


class Unit(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        squeeze = nn.Module()
        squeeze.fc1 = nn.Conv2d(outputs, outputs // 16, 1, bias=False)
        squeeze.fc2 = nn.Conv2d(outputs // 16, outputs, 1, bias=False)
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            squeeze,
        )
        self.stride = stride
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        short = x[:, :, :: self.stride, :: self.stride]
        if hasattr(self, "shortcut_layer"):
            short = self.shortcut_layer(x)
        for layer in self.res_layer[:-1]:
            x = layer(x)
        squeeze = self.res_layer[-1]
        gate = squeeze.fc2(F.relu(squeeze.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()
        return x * gate + short


class Head(nn.Module):
    def __init__(self, channels, inner, w, spatial):
        super().__init__()
        layers = []
        for i in range(int(math.log2(spatial))):
            layers += [nn.Conv2d(channels if i == 0 else inner, inner, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = nn.Module()
        self.linear.weight = nn.Parameter(torch.randn(w, inner))
        self.linear.bias = nn.Parameter(torch.randn(w))

    def forward(self, x):
        x = self.convs(x).flatten(1)
        return x @ self.linear.weight.t() / math.sqrt(x.shape[1]) + self.linear.bias


class TheirEncoder(nn.Module):
    """GradualStyleEncoder (pSp), or with delta=True Encoder4Editing (e4e), by their keys."""

    def __init__(self, rows, width=16, inner=16, w=16, channels=3, side=64, delta=False):
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        units, before = [], width
        for times, depth in zip((1, 2, 4, 8), (3, 4, 14, 3)):
            for i in range(depth):
                units.append(Unit(before, width * times, 2 if i == 0 else 1))
                before = width * times
        self.body = nn.Sequential(*units)
        sides = [side // 16] * 3 + [side // 8] * 4 + [side // 4] * max(rows - 7, 0)
        self.styles = nn.ModuleList(Head(before, inner, w, s) for s in sides[:rows])
        self.latlayer1 = nn.Conv2d(4 * width, before, 1)
        self.latlayer2 = nn.Conv2d(2 * width, before, 1)
        self.delta = delta
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                nn.init.normal_(m.running_mean, std=0.1)
                nn.init.uniform_(m.running_var, 0.5, 1.5)
                nn.init.normal_(m.weight, 1, 0.1)
                nn.init.normal_(m.bias, std=0.1)

    def forward(self, x):
        x = self.input_layer(x)
        taps = {}
        for i, unit in enumerate(self.body):
            x = unit(x)
            taps[i] = x

        def added(coarse, fine):
            return F.interpolate(coarse, fine.shape[2:], mode="bilinear", align_corners=True) + fine

        middle = added(taps[23], self.latlayer1(taps[20]))
        fine = added(middle, self.latlayer2(taps[6]))
        codes = [
            head(taps[23] if i < 3 else middle if i < 7 else fine)
            for i, head in enumerate(self.styles)
        ]
        if self.delta:
            codes = [codes[0], *(codes[0] + code for code in codes[1:])]
        return torch.stack(codes, dim=1)


def psp_checkpoint(size=32, w=16, channels=3, delta=False, side=64, opts=None, average="rows"):
    """(checkpoint, encoder in eval mode); average: rows | one | different | none."""
    torch.manual_seed(3)
    rows = 2 * size.bit_length() - 4
    encoder = TheirEncoder(rows, w=w, channels=channels, side=side, delta=delta).eval()
    decoder = rosinality_generator(size, w=w)
    state = collections.OrderedDict((f"encoder.{k}", v) for k, v in encoder.state_dict().items())
    state |= {f"decoder.{k}": v for k, v in decoder.items()}
    kind = "Encoder4Editing" if delta else "GradualStyleEncoder"
    options = {"encoder_type": kind, "start_from_latent_avg": True, "device": "cuda:0"}
    options |= {"stylegan_size": size} if delta else {"output_size": size, "input_nc": channels}
    checkpoint = {"state_dict": state, "opts": options if opts is None else opts}
    mean = Normal(5)(w)
    if average == "rows":
        checkpoint["latent_avg"] = mean.repeat(rows, 1)
    elif average == "one":
        checkpoint["latent_avg"] = mean
    elif average == "different":
        checkpoint["latent_avg"] = mean + Normal(6)(rows, w)
    return checkpoint, encoder
