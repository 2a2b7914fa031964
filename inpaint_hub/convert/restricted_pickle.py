"""A pickle read as data: the opcodes are followed, and nothing is imported or called.

A pickle is a program. Python's own reader runs it, and looks up by name whatever functions it asks
for; this one has no way to do so. It follows the opcodes with a stack of plain values, and where a
pickle asks for a function, only the names in ALLOWED are understood, each of which has a reading
here that makes plain data: dictionaries, tensors as descriptions of where their bytes lie, and
NVIDIA's persistent objects (SPEC C8.4), whose embedded source code is a string like any other.

Limits hold before anything is allocated: what is kept in memory while a pickle is read is bounded
by the file's own size and a constant.
"""

import math
import pickletools
import struct
from dataclasses import dataclass, field

import torch

from inpaint_hub.convert.errors import DamagedFileError, UnsafeFileError, shown

MAX_OPCODES = 1_000_000  # a training checkpoint at 1024 px has about 60 thousand
MAX_CONTAINERS = 100_000
MAX_NESTING = 100  # of NVIDIA's released networks: 20
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8
MAX_INTEGER = 2**63

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class Name:
    """A name the pickle asked for: inert."""

    module: str
    name: str

    def __str__(self):
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Storage:
    """Numbers in the file: `read()` gives their bytes."""

    dtype: torch.dtype
    numel: int
    read: object = field(repr=False)

    @property
    def nbytes(self):
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is still in the file; checked to lie inside its storage."""

    storage: Storage
    offset: int
    shape: tuple
    stride: tuple

    @property
    def numel(self):
        return math.prod(self.shape)

    @property
    def nbytes(self):
        return self.numel * self.storage.dtype.itemsize

    @property
    def is_floating_point(self):
        return self.storage.dtype.is_floating_point

    def load(self):
        """torch.Tensor of the file's dtype, with memory of its own."""
        data = self.storage.read()
        if len(data) != self.storage.nbytes:
            raise DamagedFileError(
                f"a storage has {len(data)} bytes, expected {self.storage.nbytes}; was the "
                "download complete?"
            )
        if not self.numel:
            return torch.empty(self.shape, dtype=self.storage.dtype)
        flat = torch.frombuffer(bytearray(data), dtype=self.storage.dtype)
        return flat.as_strided(self.shape, self.stride, self.offset).clone(
            memory_format=torch.contiguous_format
        )


@dataclass(frozen=True)
class PersistentObject:
    """NVIDIA's persistent object (a network or a layer) as data: its class's name and its
    attributes. The source code that came with it was not kept."""

    class_name: str
    state: dict


class Attributes(dict):
    """An object that is nothing but its attributes: argparse's Namespace."""


@dataclass(frozen=True)
class Array:
    """A numpy dtype, array or scalar, which no weight is: not read further."""

    what: str


class Mark:
    """Where on the stack a MARK opcode was."""


MARK = Mark()


def plain(value, kinds, what):
    if not isinstance(value, kinds) or isinstance(value, bool) and bool not in _tuple(kinds):
        raise DamagedFileError(f"{what} is {shown(value)}, expected another kind of value")
    return value


def _tuple(kinds):
    return kinds if isinstance(kinds, tuple) else (kinds,)


def sizes(values, what):
    """A tuple of a few sizes or strides, checked."""
    values = plain(values, (tuple, list), what)
    if len(values) > MAX_DIMENSIONS:
        raise UnsafeFileError(
            f"{what} has {len(values)} dimensions, expected at most {MAX_DIMENSIONS}"
        )
    for value in values:
        if plain(value, int, what) < 0 or value >= MAX_INTEGER:
            raise DamagedFileError(f"{what} holds {shown(value)}, expected a size")
    return tuple(values)


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


class Reader:
    """Follows one pickle.

    Args:
        stream: where to read, from its position on; left behind the STOP opcode.
        persistent: persistent id (plain data) -> value; None refuses them.
        from_bytes: what torch.storage._load_from_bytes stands for, bytes -> Storage.
        budget: shared by the pickles inside one file.
    """

    def __init__(self, stream, persistent=None, from_bytes=None, budget=None):
        self.stream, self.persistent, self.from_bytes = stream, persistent, from_bytes
        self.budget = budget or Budget()
        self.stack, self.memo, self.marks = [], {}, 0

    def read(self):
        """The value. Raises: UnsafeFileError, DamagedFileError."""
        try:
            for opcode, argument, _ in pickletools.genops(self.stream):
                self.budget.opcode()
                if opcode.name == "STOP":
                    break
                step = STEPS.get(opcode.name)
                if step is None:
                    raise UnsafeFileError(
                        f"the pickle uses {opcode.name}, which no checkpoint of a known network "
                        "does; nothing was executed"
                    )
                step(self, argument)
        except (UnsafeFileError, DamagedFileError):
            raise
        except (
            ValueError,
            struct.error,
            IndexError,
            KeyError,
            TypeError,
            OverflowError,
            EOFError,
            MemoryError,
            RecursionError,
            Warning,  # where warnings are errors
        ) as error:
            raise DamagedFileError(
                f"the pickle cannot be followed ({type(error).__name__}: {shown(str(error))}); was "
                "the download complete?"
            ) from error
        if len(self.stack) != 1 or self.stack[0] is MARK:
            raise DamagedFileError(f"the pickle leaves {len(self.stack)} values, expected one")
        return self.stack[0]

    def push(self, value):
        self.stack.append(value)

    def pop(self):
        value = self.stack.pop()
        if value is MARK:
            raise IndexError("a mark is in the way")
        return value

    def top(self):
        if self.stack[-1] is MARK:
            raise IndexError("a mark is in the way")
        return self.stack[-1]

    def since_mark(self):
        items = []
        while (value := self.stack.pop()) is not MARK:
            items.append(value)
        items.reverse()
        return items

    def contained(self, value):
        self.budget.container()
        self.push(value)

    def remembered(self, place):
        if len(self.memo) > MAX_OPCODES:
            raise UnsafeFileError("the pickle remembers too many values")
        self.memo[place] = self.top()

    def named(self, module, name):
        name = Name(plain(module, str, "a module"), plain(name, str, "a name"))
        if str(name) not in ALLOWED and str(name) not in VALUES:
            raise refused_name(name)
        self.push(name)

    def call(self):
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Name) or str(function) not in ALLOWED:
            raise UnsafeFileError(
                f"the pickle calls {shown_name(function)}, which is nothing a checkpoint calls; "
                "nothing was executed"
            )
        arguments = plain(arguments, tuple, "the arguments of a call")
        if str(function) == "torch.storage._load_from_bytes":
            if self.from_bytes is None:
                raise UnsafeFileError("a storage lies inside a storage; nothing was executed")
            (data,) = arguments
            self.push(self.from_bytes(plain(data, bytes, "a storage")))
            return
        self.budget.container()
        value = ALLOWED[str(function)](*arguments)
        if isinstance(value, StoredTensor):
            self.budget.tensor()
        self.push(value)

    def new_object(self):
        _, kind = self.pop(), self.pop()
        self.contained(new_instance(kind))

    def build(self):
        """An object's attributes: kept where the object is nothing else; a dictionary's own
        attributes, as a state dict's _metadata, are not needed."""
        state = self.pop()
        target = self.top()
        if isinstance(target, Attributes):
            for name, value in dictionary(plain(state, dict, "a Namespace's attributes")).items():
                target[key(name)] = value
        elif not isinstance(target, (dict, Array)):
            raise UnsafeFileError(
                f"attributes are given to {shown(target)}, which has none; nothing was executed"
            )

    def append(self, items):
        target = self.top()
        if not isinstance(target, list):
            raise DamagedFileError(f"an item is added to {shown(target)}, expected a list")
        target.extend(items)

    def set_items(self, items):
        target = self.top()
        if not isinstance(target, dict):
            raise DamagedFileError(f"an item is set in {shown(target)}, expected a dictionary")
        if len(items) % 2:
            raise DamagedFileError("a dictionary's last key has no value")
        for name, value in zip(items[::2], items[1::2]):
            target[key(name)] = value

    def persistent_value(self, identity):
        if self.persistent is None:
            raise UnsafeFileError("the pickle refers to something outside of it")
        self.push(self.persistent(identity))


class Budget:
    """What all the pickles of one file may use together."""

    def __init__(self):
        self.opcodes = self.containers = self.tensors = 0

    def opcode(self):
        self.opcodes += 1
        if self.opcodes > MAX_OPCODES:
            raise UnsafeFileError(f"the file has more than {MAX_OPCODES} opcodes; it is no network")

    def container(self):
        self.containers += 1
        if self.containers > MAX_CONTAINERS:
            raise UnsafeFileError(
                f"the file has more than {MAX_CONTAINERS} lists, dictionaries and objects; it is "
                "no network"
            )

    def tensor(self):
        self.tensors += 1
        if self.tensors > MAX_TENSORS:
            raise UnsafeFileError(f"the file has more than {MAX_TENSORS} tensors; it is no network")


def _popped(reader, count):
    items = [reader.pop() for _ in range(count)]
    items.reverse()
    return items


def _pairs(reader):
    items = reader.since_mark()
    reader.contained({})
    reader.set_items(items)


def _mark(reader, _):
    reader.marks += 1
    reader.stack.append(MARK)


def _global(reader, argument):
    reader.named(*argument.split(" ", 1))


def _stack_global(reader, _):
    name, module = reader.pop(), reader.pop()
    reader.named(module, name)


def _value(reader, argument):
    reader.push(argument)


STEPS = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda r, a: None),
    **dict.fromkeys(
        ("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
        + ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "BINUNICODE8")
        + ("SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        _value,
    ),
    "NONE": lambda r, a: r.push(None),
    "NEWTRUE": lambda r, a: r.push(True),
    "NEWFALSE": lambda r, a: r.push(False),
    "EMPTY_LIST": lambda r, a: r.contained([]),
    "EMPTY_TUPLE": lambda r, a: r.push(()),
    "EMPTY_DICT": lambda r, a: r.contained({}),
    "EMPTY_SET": lambda r, a: r.contained([]),  # a list will do
    "LIST": lambda r, a: r.contained(r.since_mark()),
    "TUPLE": lambda r, a: r.contained(tuple(r.since_mark())),
    "TUPLE1": lambda r, a: r.contained(tuple(_popped(r, 1))),
    "TUPLE2": lambda r, a: r.contained(tuple(_popped(r, 2))),
    "TUPLE3": lambda r, a: r.contained(tuple(_popped(r, 3))),
    "DICT": lambda r, a: _pairs(r),
    "FROZENSET": lambda r, a: r.contained(r.since_mark()),
    "APPEND": lambda r, a: r.append([r.pop()]),
    "APPENDS": lambda r, a: r.append(r.since_mark()),
    "ADDITEMS": lambda r, a: r.append(r.since_mark()),
    "SETITEM": lambda r, a: r.set_items(_popped(r, 2)),
    "SETITEMS": lambda r, a: r.set_items(r.since_mark()),
    "MARK": _mark,
    "POP": lambda r, a: r.stack.pop(),
    "POP_MARK": lambda r, a: r.since_mark(),
    "DUP": lambda r, a: r.push(r.top()),
    "GET": lambda r, a: r.push(r.memo[a]),
    "BINGET": lambda r, a: r.push(r.memo[a]),
    "LONG_BINGET": lambda r, a: r.push(r.memo[a]),
    "PUT": lambda r, a: r.remembered(a),
    "BINPUT": lambda r, a: r.remembered(a),
    "LONG_BINPUT": lambda r, a: r.remembered(a),
    "MEMOIZE": lambda r, a: r.remembered(len(r.memo)),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": lambda r, a: r.call(),
    "NEWOBJ": lambda r, a: r.new_object(),
    "BUILD": lambda r, a: r.build(),
    "BINPERSID": lambda r, a: r.persistent_value(r.pop()),
}


def check_nesting(value):
    """Raises: UnsafeFileError for what is nested deeper than MAX_NESTING, without recursing."""
    level, seen = [value], set()
    for _ in range(MAX_NESTING):
        below = []
        for item in level:
            if isinstance(item, PersistentObject):
                item = item.state
            if isinstance(item, (dict, list, tuple)) and id(item) not in seen:
                seen.add(id(item))
                below += item.values() if isinstance(item, dict) else item
        level = below
        if not level:
            return
    raise UnsafeFileError(
        f"the file's contents are nested more than {MAX_NESTING} deep; it is no network"
    )
