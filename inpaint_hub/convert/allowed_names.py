"""The names a pickle may ask for, and what is made instead of what they name."""

import math

from inpaint_hub.convert.errors import DamagedFileError, UnsafeFileError, shown
from inpaint_hub.convert.plain_data import (
    DTYPES,
    MAX_INTEGER,
    Array,
    Attributes,
    Name,
    PersistentObject,
    Storage,
    StoredTensor,
    plain,
    sizes,
)


def rebuilt_tensor(storage, offset, shape, stride, *_):
    """_rebuild_tensor_v2 as a description.

    Raises: DamagedFileError where the tensor reaches beyond its storage; UnsafeFileError where it
    is larger than its storage (repeats it).
    """
    storage = plain(storage, Storage, "a tensor's storage")
    (offset,) = sizes([offset], "a tensor's offset")
    shape, stride = sizes(shape, "a tensor's shape"), sizes(stride, "a tensor's stride")
    if len(shape) != len(stride):
        raise DamagedFileError(f"a tensor has shape {shape} but stride {stride}")
    count = math.prod(shape)
    if count > storage.numel:
        raise UnsafeFileError(
            f"a tensor of shape {shape} has more numbers than its storage, {storage.numel}: it "
            "would grow when it is read; save a contiguous copy of it"
        )
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride)) if count else offset
    if count and last >= storage.numel:
        raise DamagedFileError(
            f"a tensor of shape {shape}, stride {stride} and offset {offset} reaches beyond its "
            f"storage of {storage.numel} numbers"
        )
    return StoredTensor(storage, offset, shape, stride)


def rebuilt_parameter(tensor, *_):
    return plain(tensor, StoredTensor, "a parameter")


def rebuilt_from_type(function, kind, arguments, *_):
    """_rebuild_from_type_v2: a tensor that had attributes, which are dropped."""
    if not isinstance(function, Name) or str(function) not in TENSOR_FUNCTIONS:
        raise UnsafeFileError(f"a tensor is to be made by {shown(function)}; nothing was executed")
    return ALLOWED[str(function)](*plain(arguments, tuple, "a tensor's arguments"))


def persistent_object(meta):
    """NVIDIA's _reconstruct_persistent_obj without its exec: class name and attributes."""
    meta = plain(meta, dict, "a persistent object")
    if meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise DamagedFileError(
            f"a persistent object is of type {shown(meta.get('type'))} and its state "
            f"{shown(meta.get('state'))}, expected a class and its attributes"
        )
    name = plain(meta.get("class_name"), str, "a persistent object's class name")
    return PersistentObject(name, meta["state"])


def dictionary(items=()):
    if isinstance(items, dict):
        return dict(items)
    result = {}
    for pair in plain(items, (list, tuple), "a dictionary's items"):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise DamagedFileError(f"a dictionary's item is {shown(pair)}, expected a pair")
        result[key(pair[0])] = pair[1]
    return result


def collection(items=()):
    return list(plain(items, (list, tuple), "a collection's items"))


def key(value):
    """A dictionary's key, if it is of a kind whose hash cannot be made slow."""
    if isinstance(value, (str, bool, type(None))):
        return value
    if isinstance(value, int) and abs(value) < MAX_INTEGER:
        return value
    raise UnsafeFileError(
        f"a dictionary's key is {shown(value)}, expected text or a whole number; nothing was "
        "executed"
    )


def encoded(text, encoding="latin1"):
    """_codecs.encode, which is how bytes are written by pickle's protocol 2."""
    if encoding not in ("latin1", "latin-1", "ascii", "utf-8", "utf8"):
        raise UnsafeFileError(f"text is to be encoded as {shown(encoding)}, expected latin1")
    return plain(text, str, "text").encode(encoding)


def inert(what):
    return lambda *_: Array(what)


def new_instance(kind, *_):
    """copyreg._reconstructor: an object of an allowed class, still without attributes."""
    if not isinstance(kind, Name) or str(kind) not in CLASSES:
        raise UnsafeFileError(f"an object of {shown_name(kind)} is to be made, which is no weight")
    return CLASSES[str(kind)]()


CLASSES = {  # what may be made without arguments, then filled
    "collections.OrderedDict": dict,
    "dnnlib.util.EasyDict": dict,
    "dnnlib.EasyDict": dict,
    "argparse.Namespace": Attributes,
}
TENSOR_FUNCTIONS = (
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
)
ALLOWED = {  # what a pickle may call, and what is done instead
    "torch_utils.persistence._reconstruct_persistent_obj": persistent_object,
    "torch._utils._rebuild_tensor": rebuilt_tensor,
    "torch._utils._rebuild_tensor_v2": rebuilt_tensor,
    "torch._utils._rebuild_parameter": rebuilt_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuilt_parameter,
    "torch._tensor._rebuild_from_type_v2": rebuilt_from_type,
    "torch.Size": lambda items=(): tuple(plain(items, (list, tuple), "a size")),
    "torch.device": inert("device"),
    "collections.OrderedDict": dictionary,
    "collections.defaultdict": lambda factory=None, items=(): dictionary(items),
    "dnnlib.util.EasyDict": dictionary,
    "dnnlib.EasyDict": dictionary,
    "argparse.Namespace": lambda: Attributes(),
    "copyreg._reconstructor": new_instance,
    "copy_reg._reconstructor": new_instance,
    "_codecs.encode": encoded,
    "builtins.set": collection,
    "builtins.frozenset": collection,
    "__builtin__.set": collection,
    "__builtin__.frozenset": collection,
    "numpy.dtype": inert("dtype"),
    "numpy.core.multiarray.scalar": inert("scalar"),
    "numpy._core.multiarray.scalar": inert("scalar"),
    "numpy.core.multiarray._reconstruct": inert("array"),
    "numpy._core.multiarray._reconstruct": inert("array"),
    "torch.storage._load_from_bytes": None,  # set by the reader, which knows how
}
VALUES = {  # names that may stand for themselves
    "builtins.object",
    "__builtin__.object",
    "builtins.dict",
    "builtins.list",
    "builtins.int",
    "builtins.float",
    "numpy.ndarray",
    "torch.Tensor",
    "torch._tensor.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.nn.Parameter",
    *(f"torch.{name}" for name in DTYPES),
    *(f"torch.cuda.{name}" for name in DTYPES),
    "torch.storage.UntypedStorage",
    *(str(dtype) for dtype in DTYPES.values()),
}
WHAT_TO_DO = (  # by the beginning of a name that is not allowed
    (
        "dnnlib.tflib",
        "this is a TensorFlow network; convert it with NVIDIA's legacy.py (of "
        "stylegan2-ada-pytorch) first, then give the .pkl that writes",
    ),
    (
        "torch.nn.modules",
        "this is a whole pickled model; where its code is at hand, save its weights alone: "
        "torch.save(model.state_dict(), 'weights.pt')",
    ),
    (
        "torch.jit",
        "this is a TorchScript program; save its weights alone: "
        "torch.save(model.state_dict(), 'weights.pt')",
    ),
)


def shown_name(name):
    return shown(str(name)) if isinstance(name, Name) else shown(name)


def refused_name(name):
    advice = next(
        (text for start, text in WHAT_TO_DO if str(name).startswith(start)),
        "nothing was executed; get the network from a source you trust, as a state dict "
        "(torch.save(model.state_dict(), 'weights.pt')) or as safetensors",
    )
    return UnsafeFileError(
        f"the file asks for {shown_name(name)}, which a checkpoint of a known network does not "
        f"need; {advice}"
    )
