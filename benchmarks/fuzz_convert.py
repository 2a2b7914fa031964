"""Mutated checkpoints against the converter: it converts them or refuses them, and does no more.

    python benchmarks/fuzz_convert.py --cases 10000 --seed 0

Small files of every layout are changed at random (bytes flipped, cut, doubled, moved between
files; names, counts and opcodes of the pickles replaced; zips rebuilt around changed pickles,
compressed, renamed; keys, shapes and kinds changed in well-formed files) and converted. Every case
must end in networks or in one of the converter's named errors. An audit hook watches the
interpreter meanwhile: no process, no socket, no file opened but the one given, nothing imported,
compiled or unpickled by Python's own reader. Prints how the cases ended, and by how much the
process grew.
"""

import argparse
import collections
import io
import os
import random
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import torch
from tqdm.auto import tqdm

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import checkpoints  # noqa: E402

from inpaint_hub.convert import ConversionError, convert  # noqa: E402

FORBIDDEN = ("subprocess.", "socket.", "ctypes.", "shutil.", "pickle.", "ftplib.", "urllib.")
FORBIDDEN_OS = {
    f"os.{name}"
    for name in ("system", "exec", "fork", "forkpty", "posix_spawn", "spawn", "remove", "rename")
    + ("mkdir", "rmdir", "link", "symlink", "truncate", "chmod", "chown", "putenv", "kill")
}
NAMES = (b"os\nsystem", b"builtins\neval", b"builtins\nexec", b"subprocess\nPopen", b"io\nopen")
COUNTS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
OPCODES = (
    b"().012FIJKLMNPQRSTUVXabcdeghijlopqrstu}]\x80\x81\x82\x85\x86\x87\x88\x8a\x8b\x8c\x8e\x8f"
)
OPCODES += b"\x90\x91\x92\x93\x94\x95\x96\x97\x98"
GROWTH_BYTES = 256 * 1024**2


class Watch:
    """Remembers what the interpreter did that reading a file does not need."""

    def __init__(self):
        self.allowed, self.seen, self.on = None, [], False
        for encoding in ("cp437", "raw_unicode_escape", "latin1", "utf-8", "ascii"):
            b"a".decode(encoding)  # which Python would load when a zip or pickle first needs it
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if not self.on:
            return
        if event.startswith(FORBIDDEN) or event in FORBIDDEN_OS or event in ("exec", "compile"):
            self.seen.append((event, repr(arguments)[:200]))
        elif event == "open":
            path, mode = arguments[0], arguments[1]
            read_only = mode is None or not set(str(mode)) & set("wax+")
            if str(path) != self.allowed or not read_only:
                self.seen.append((event, repr(arguments)[:200]))
        elif event == "import" and arguments[0] not in sys.modules:
            self.seen.append((event, repr(arguments)[:200]))


def bytes_of(checkpoint, **options):
    stream = io.BytesIO()
    torch.save(checkpoint, stream, **options)
    return stream.getvalue()


def base_files():
    """({name: bytes} of one small file of each layout, a checkpoint whose keys can be changed)."""
    from safetensors.torch import save

    sizes = {"size": 8, "base": 32, "most": 4}
    rosinality = checkpoints.rosinality_training(**sizes, w=4)
    psp, _ = checkpoints.psp_checkpoint(size=8, w=4, side=32)
    nvidia = {
        "G_ema": checkpoints.nvidia_generator(**sizes, z=4, w=4),
        "D": checkpoints.nvidia_discriminator(**sizes),
    }
    files = {
        "rosinality": bytes_of(rosinality),
        "rosinality, before 1.6": bytes_of(rosinality, _use_new_zipfile_serialization=False),
        "NVIDIA": checkpoints.nvidia_pickle(nvidia),
        "NVIDIA, protocol 2": checkpoints.nvidia_pickle(nvidia, protocol=2),
        "pSp": bytes_of({**psp, "state_dict": dict(list(psp["state_dict"].items())[-60:])}),
        "safetensors": save({k: v.clone() for k, v in rosinality["g_ema"].items()}),
    }
    return files, rosinality


def rearranged(checkpoint, rng):
    """Bytes of a checkpoint that is well formed, with other keys, shapes, numbers or kinds."""
    changed = {k: dict(v) if isinstance(v, dict) else v for k, v in checkpoint.items()}
    for _ in range(rng.choice((1, 1, 2, 5))):
        state = changed[rng.choice(("g", "d", "g_ema"))]
        name = rng.choice(list(state))
        tensor = state.pop(name) if rng.random() < 0.9 else state[name]
        kind = rng.randrange(9)
        if kind in (3, 4, 5, 7, 8) and not isinstance(tensor, torch.Tensor):
            continue  # an earlier change has put something else there
        if kind == 1:
            state[rng.choice((name + "x", "module." + name, "encoder." + name, ""))] = tensor
        elif kind == 2:
            number = rng.choice((1, 7, 30, 99999))
            state[".".join(str(number) if p.isdigit() else p for p in name.split("."))] = tensor
        elif kind == 3:
            state[name] = tensor.repeat((2,) * max(tensor.ndim, 1))
        elif kind == 4:
            state[name] = tensor.to(rng.choice((torch.int64, torch.bool, torch.float64)))
        elif kind == 5:
            state[name] = tensor[..., :0]
        elif kind == 6:
            state[name] = rng.choice((None, 3, "text", [tensor], {"a": tensor}, (tensor,) * 3))
        elif kind == 7:
            state[name] = tensor * torch.inf
        elif kind == 8:
            state[name] = tensor.new_zeros(1).expand(1000, 1000)
    if rng.random() < 0.2:
        changed[rng.choice(("latent_avg", "state_dict", "opts", "x"))] = rng.choice(
            (torch.ones(4), torch.ones(3, 4), torch.tensor(1), {}, changed["g"], [])
        )
    for name in rng.sample(sorted(changed), rng.randrange(4)):
        del changed[name]
    return bytes_of(changed, _use_new_zipfile_serialization=rng.random() < 0.7)


def changed(data, rng, others):
    """A mutant of a sequence of bytes."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        place = rng.randrange(len(data))
        # the beginning holds the structure, the rest mostly numbers
        place = place if rng.random() < 0.5 else place % min(len(data), 4096)
        kind = rng.randrange(10)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place] = rng.choice(OPCODES)
        elif kind == 2:
            data[place : place + 1] = bytes(rng.choice(OPCODES) for _ in range(rng.randrange(9)))
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            del data[place : place + rng.randrange(1, 64)]
        elif kind == 5:
            end = place + rng.randrange(1, 256)
            data[place:place] = data[place:end] * rng.choice((1, 2, 50))
        elif kind == 6:
            form = rng.choice(("<I", "<Q"))
            count = rng.choice(COUNTS) & (2 ** (8 * struct.calcsize(form)) - 1)
            data[place : place + struct.calcsize(form)] = struct.pack(form, count)
        elif kind == 7:
            data[place:place] = b"c" + rng.choice(NAMES) + b"\n" + b"X\x02\x00\x00\x00id\x85R"
        elif kind == 8:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            data[place : place + 64] = other[start : start + rng.randrange(1, 512)]
        else:
            for name in (b"collections", b"OrderedDict", b"_rebuild_tensor_v2", b"FloatStorage"):
                if rng.random() < 0.4:
                    data = bytearray(bytes(data).replace(name, b"os.system"[: len(name)], 3))
    return bytes(data)


def mutant(data, rng, others):
    if not data.startswith(b"PK") or rng.random() < 0.2:
        return changed(data, rng, others)
    stream = io.BytesIO()
    compression = rng.choice((zipfile.ZIP_STORED,) * 5 + (zipfile.ZIP_DEFLATED,))
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", compression) as new:
        for info in old.infolist():
            content, name = old.read(info), info.filename
            if name.endswith("data.pkl") and rng.random() < 0.8:
                content = changed(content, rng, others)
            elif rng.random() < 0.02:
                content = rng.choice((b"", content * 3, content[:-1], bytes(2_000_000)))
            if rng.random() < 0.01:
                name = rng.choice(("../../outside", "/etc/outside", name + "x", "x/data.pkl"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # two entries of one name are meant
                new.writestr(name, content)
    result = stream.getvalue()
    return changed(result, rng, others) if rng.random() < 0.2 else result


def run(cases, seed, progress=False):
    """(Counter of how the cases ended, [what should not have been], growth in bytes)."""
    rng = random.Random(seed)
    bases, checkpoint = base_files()
    files = list(bases.values())
    ends, wrong = collections.Counter(), []
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given"
        for data in files:  # every module that is needed is imported by now
            path.write_bytes(data)
            try:
                convert(path)
            except ConversionError:
                pass
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for case in tqdm(range(cases), disable=not progress):
            name = rng.choice(list(bases))
            if name == "rosinality" and rng.random() < 0.7:
                path.write_bytes(rearranged(checkpoint, rng))
            else:
                path.write_bytes(mutant(bases[name], rng, files))
            watch.allowed, watch.on = str(path), True
            try:
                convert(path)
                ends["converted"] += 1
            except ConversionError as error:
                ends[type(error).__name__] += 1
            except BaseException as error:  # whatever it is, it is none of ours
                wrong.append(f"case {case} ({name}): {type(error).__name__}: {error}"[:300])
            finally:
                watch.on = False
            wrong += [f"case {case} ({name}): {event}" for event in watch.seen]
            watch.seen.clear()
        if (left := os.listdir(folder)) != ["given"]:
            wrong.append(f"files were left: {left}")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return ends, wrong, (after - before) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    ends, wrong, growth = run(arguments.cases, arguments.seed, progress=True)
    for name, count in ends.most_common():
        print(f"{name:>20}: {count}")
    print(f"grown by {growth / 1e6:.0f} MB in {time.perf_counter() - start:.0f} s")
    for line in wrong[:20]:
        print("WRONG", line)
    return 1 if wrong or growth > GROWTH_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
