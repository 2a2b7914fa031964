"""A pickle read as data: the opcodes are followed, and nothing is imported or called.

A pickle is a program. Python's own reader runs it, and looks up by name whatever functions it asks
for; this one has no way to do so. It follows the opcodes with a stack of plain values, and where a
pickle asks for a function, only the names of allowed_names are understood, each of which has a
reading there that makes plain data: dictionaries, tensors as descriptions of where their bytes lie,
and NVIDIA's persistent objects (SPEC C8.4), whose embedded source code is a string like any other.

Limits hold before anything is allocated: what is kept in memory while a pickle is read is bounded
by the file's own size and a constant.
"""

import pickletools
import struct

from inpaint_hub.convert.allowed_names import (
    ALLOWED,
    VALUES,
    dictionary,
    key,
    new_instance,
    refused_name,
    shown_name,
)
from inpaint_hub.convert.errors import DamagedFileError, UnsafeFileError, shown
from inpaint_hub.convert.plain_data import (
    MAX_TENSORS,
    Array,
    Attributes,
    Name,
    PersistentObject,
    StoredTensor,
    plain,
)

MAX_OPCODES = 1_000_000  # a training checkpoint at 1024 px has about 60 thousand
MAX_CONTAINERS = 100_000
MAX_NESTING = 100  # of NVIDIA's released networks: 20


class Mark:
    """Where on the stack a MARK opcode was."""


MARK = Mark()


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
