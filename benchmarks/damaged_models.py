"""Does any damage to a model's files end in anything but an error that names the file?

python -m benchmarks.damaged_models --number 10000

Each case changes one file of a saved tiny pipeline (bytes turned, cut out, doubled, swapped; the
file cut off or emptied; JSON values replaced), loads it, and puts the file back. What may happen:
it loads (the damage hit a weight's value, which no file format can tell), or FileNotFoundError,
ValueError, RuntimeError or TypeError with the folder's or the file's name in it. Everything else is
listed, with its number: --only NUMBER tries it again.
"""

import argparse
import json
import logging
import random
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import torch
from diffusers.utils.logging import disable_progress_bar

from inpaint_hub import PSPEncoder, PSPPipeline, StyleGAN2Generator, load_pipeline

NAMED = (FileNotFoundError, ValueError, RuntimeError, TypeError)
VALUES = (None, True, -1, 0, 7, 2**15, 10**30, 1e400, "x", "", [], [3], {}, ["os", "system"])
SMALL = {"resolution": 32, "w_dim": 8}


def saved(folder):
    torch.manual_seed(0)
    gan = StyleGAN2Generator(z_dim=8, num_mapping_layers=2, channel_base=64, **SMALL)
    sizes = {"backbone": "small", "backbone_width": 8, "style_channels": 8}
    PSPPipeline(encoder=PSPEncoder(**SMALL, **sizes), gan=gan).save_pretrained(folder)
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in (".json", ".safetensors")]
    return [p for p in files if p != folder / "config.json"]  # which counts downloads alone


def damaged(data, rng, is_json):
    """`data` with one kind of damage."""
    kind = rng.randrange(8 if is_json else 6)
    reach = len(data) if is_json or rng.random() < 0.3 else min(len(data), 2000)  # the header
    place, length = rng.randrange(reach), rng.choice((1, 1, 2, 8, 100))
    if kind == 0:
        changed = bytearray(data)
        for _ in range(length):
            changed[rng.randrange(reach)] = rng.randrange(256)
        return bytes(changed)
    if kind == 1:
        return data[:place]
    if kind == 2:
        return data[:place] + data[place + length :]
    if kind == 3:
        return data[: place + length] + data[place:]
    if kind == 4:
        return rng.choice((b"", b"version https://git-lfs.github.com/spec/v1\n", b"<html>", b"PK"))
    if kind == 5:
        return data[:place] + rng.randbytes(length) + data[place:]
    content = json.loads(data)
    content[rng.choice(sorted(content))] = rng.choice(VALUES)
    return json.dumps(content).encode()


def outcome(folder):
    """("loaded" | name of the error's class, whether that is allowed, the error)."""
    try:
        load_pipeline(folder)
    except Exception as error:
        named = folder.name in str(error)
        return type(error).__name__, isinstance(error, NAMED) and named, error
    return "loaded", True, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of one case, with its traceback")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    disable_progress_bar()
    seen, faults, start = Counter(), [], time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "damaged_pipeline"
        files = saved(folder)
        wanted = range(arguments.number) if arguments.only is None else [arguments.only]
        for number in wanted:
            rng = random.Random(f"{arguments.seed}-{number}")
            file = rng.choice(files)
            whole = file.read_bytes()
            file.write_bytes(damaged(whole, rng, file.suffix == ".json"))
            kind, allowed, error = outcome(folder)
            file.write_bytes(whole)
            seen[kind] += 1
            if not allowed:
                faults.append(f"{number} ({file.relative_to(folder)}): {kind}: {str(error)[:200]}")
            if arguments.only is not None and error:
                traceback.print_exception(error)
    seconds = time.perf_counter() - start
    print(f"{sum(seen.values())} cases in {seconds:.0f} s: {dict(seen.most_common())}")
    print(f"{len(faults)} not named" + "".join(f"\n  {fault}" for fault in faults))


if __name__ == "__main__":
    main()
