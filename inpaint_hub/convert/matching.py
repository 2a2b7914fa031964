"""Tensors of a file against the tensors of a network: each used exactly once, or an error."""

import math
from collections import Counter
from dataclasses import dataclass

import torch

from inpaint_hub.convert.errors import UnsafeFileError, WrongKeysError, shown

MAX_LISTED = 8
MAX_SHARING = 4  # tensors may share storages in a file, but not swell it by more than this
SLACK_BYTES = 1 << 20
MIN_RESOLUTION, MAX_RESOLUTION = 8, 2048
MAX_MAPPING_LAYERS = 64  # StyleGAN2 has 2 or 8


@dataclass(frozen=True)
class Wanted:
    """One tensor: its key in the file, its shape there, and its name in our network (with the
    shape it has here, which holds as many numbers)."""

    theirs: str
    their_shape: tuple
    ours: str
    shape: tuple


@dataclass(frozen=True)
class Constant:
    """A tensor the file holds although it is no weight; checked, and made anew on the way back."""

    theirs: str
    values: torch.Tensor


def listed(items):
    items = list(items)
    rest = f", and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return ", ".join(map(str, items[:MAX_LISTED])) + rest


def matched(state, wanted, constants=(), network="network", hint="", optional=()):
    """{our name: float32 tensor}, from `state`, {their key: StoredTensor}.

    optional: sets of their keys that may be missing together.

    Raises: WrongKeysError that lists what is missing, left over, of another shape than expected,
    or not finite; UnsafeFileError where the tensors hold much more than the file.
    """
    expected = {w.theirs: w.their_shape for w in wanted}
    expected |= {c.theirs: tuple(c.values.shape) for c in constants}
    absent = set(expected) - set(state)
    for group in optional:
        if set(group) <= absent:
            absent -= set(group)
    missing = [k for k in expected if k in absent]
    leftovers = [k for k in state if k not in expected]
    wrong = [
        f"{shown(k)} has shape {state[k].shape}, expected {shape}"
        for k, shape in expected.items()
        if k in state and state[k].shape != tuple(shape)
    ]
    kinds = [
        f"{shown(k)} holds {state[k].storage.dtype}, expected floating-point numbers"
        for k in expected
        if k in state and not state[k].is_floating_point and not is_counter(k)
    ]
    if missing or leftovers or wrong or kinds:
        parts = [
            f"missing: {listed(map(shown, missing))}" if missing else "",
            f"left over: {listed(map(shown, leftovers))}" if leftovers else "",
            f"of another shape: {listed(wrong)}" if wrong else "",
            listed(kinds),
        ]
        raise WrongKeysError(
            f"the tensors are not exactly those of this {network}; "
            + "; ".join(filter(None, parts))
            + (f"; {hint}" if hint else "")
        )
    check_total(state)
    for constant in constants:
        found = state[constant.theirs].load().float()
        if not torch.allclose(found, constant.values, rtol=1e-2, atol=1e-3):
            raise WrongKeysError(
                f"{shown(constant.theirs)} holds {found.flatten().tolist()[:4]}..., expected the "
                f"kernel [1, 3, 3, 1] of StyleGAN2, {constant.values.flatten().tolist()[:4]}...: "
                "networks with other filters are not read"
            )
    result = {}
    for w in wanted:
        if w.theirs in state:
            tensor = state[w.theirs].load()
            if not is_counter(w.theirs):
                tensor = tensor.float()
                if not torch.isfinite(tensor).all():
                    raise WrongKeysError(
                        f"{shown(w.theirs)} holds numbers that are not finite; the training it is "
                        "from has failed, take an earlier checkpoint"
                    )
            result[w.ours] = tensor.reshape(w.shape)
    return result


def is_counter(key):
    """Whether the tensor counts batches: the one kind of integer in these networks."""
    return key.endswith("num_batches_tracked")


def check_total(state):
    """Raises: UnsafeFileError where tensors share storages so much that loading would swell."""
    total = sum(tensor.nbytes for tensor in state.values())
    distinct = {id(tensor.storage): tensor.storage.nbytes for tensor in state.values()}
    if total > MAX_SHARING * sum(distinct.values()) + SLACK_BYTES:
        raise UnsafeFileError(
            f"the tensors share {sum(distinct.values())} bytes in the file but need {total}; save "
            "contiguous copies of them"
        )


def built(network_class, config, state, network):
    """The network of this configuration with these tensors, which it keeps; in eval mode.

    Raises: WrongKeysError where they are not exactly its own.
    """
    model = on_meta(network_class, config)
    own = model.state_dict()
    missing = sorted(set(own) - set(state))
    if missing or set(state) - set(own):
        raise WrongKeysError(f"the {network} lacks {listed(missing)}")
    model.load_state_dict(state, assign=True)
    return model.eval()


def on_meta(network_class, config):
    """The network without memory for its weights: what shapes it has."""
    with torch.device("meta"):
        return network_class(**config)


def shapes_of(network_class, config):
    return {name: tuple(t.shape) for name, t in on_meta(network_class, config).state_dict().items()}


# ---- architecture from shapes ------------------------------------------------------------------


def voted(state, candidates):
    """The size that most of the candidates, [(key, axis)], agree on; None where none is there.

    So that one tensor of a wrong shape is named as such, instead of changing the architecture.
    """
    votes = Counter()
    for name, axis in candidates:
        if name in state and len(state[name].shape) > axis:
            votes[state[name].shape[axis]] += 1
    return votes.most_common(1)[0][0] if votes else None


def latent_sizes(state, layers, others):
    """(z_dim, w_dim) of a mapping, by its layers' weights and what else is as wide as w.

    layers: keys, first to last. others: [(key, axis)].
    """
    w_dim = voted(state, [(key, 0) for key in layers] + others) or 0
    first, later = ([(key, 1) for key in part] for part in (layers[:1], layers[1:]))
    return voted(state, first) or voted(state, later) or w_dim, w_dim


def fitted_channels(widths):
    """(channel_base, channel_max) of widths {resolution: channels}: min(base // r, max).

    Raises: WrongKeysError where there are none.
    """
    largest = max(widths.values())
    below = {r: c for r, c in widths.items() if c < largest}
    at_most = min((c * r + r - 1 for r, c in below.items()), default=math.inf)
    capped = [r for r, c in widths.items() if c == largest]
    base = max([c * r for r, c in below.items()] + [largest * max(capped)])
    if base > at_most or min(widths.values()) < 1:
        raise WrongKeysError(
            f"the channels by resolution are {widths}, expected min(base // resolution, max) of "
            "some base and max, as StyleGAN2 has them (512 at most, halved from 64 px on)"
        )
    return base, largest


def checked_resolution(resolution):
    """Raises: WrongKeysError for sizes StyleGAN2 has not been trained at."""
    if not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
        size = resolution if resolution < 2**40 else "far too large"
        raise WrongKeysError(
            f"the number of blocks stands for {size} px, expected {MIN_RESOLUTION} to "
            f"{MAX_RESOLUTION} px"
        )
    return resolution


def checked_depth(num_layers):
    """Raises: WrongKeysError for more mapping layers than any StyleGAN2 has."""
    if num_layers > MAX_MAPPING_LAYERS:
        raise WrongKeysError(
            f"the mapping has a layer {num_layers}, expected at most {MAX_MAPPING_LAYERS}"
        )
    return num_layers


def widths_of(state, candidates):
    """{resolution: channels}, from {resolution: [(key, axis)]}.

    Raises: WrongKeysError that names the keys that are missing.
    """
    widths = {r: voted(state, places) for r, places in candidates.items()}
    if absent := [places[0][0] for r, places in candidates.items() if widths[r] is None]:
        raise WrongKeysError(f"missing: {listed(map(shown, absent))}")
    return widths


def highest(state, pattern):
    """Largest whole number that `pattern`, with one group, finds in the keys; -1 where none."""
    numbers = (pattern.match(name) for name in state)
    return max((int(m.group(1)) for m in numbers if m and len(m.group(1)) < 6), default=-1)
