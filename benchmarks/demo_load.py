"""Many clients at once: does everybody get their own picture, is memory flat, is the queue honest?

    python -m benchmarks.demo_load --clients 20 --seconds 120 [--tiny]

Starts the demo on loopback (--tiny: with an untrained pipeline of 32 px, so that the page is
measured and not the model), lets each client fill photos of its own until the time is over, and
checks every known pixel of every answer. Some clients leave in the middle of a request.
"""

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from gradio_client import Client, handle_file
from PIL import Image

from inpaint_hub import InvertFillEncoder, InvertFillPipeline, StyleGAN2Generator
from inpaint_hub.demo.launch import LOOK
from inpaint_hub.demo.models import Models, bundled_models
from inpaint_hub.demo.page import build_demo

LEAVING = 0.1  # of the requests, the client goes before the answer


def tiny_pipeline():
    torch.manual_seed(0)
    sizes = {"resolution": 32, "w_dim": 16, "channel_base": 256, "channel_max": 16}
    small = {"backbone": "small", "backbone_width": 8, "style_channels": 16}
    return InvertFillPipeline(
        InvertFillEncoder(**sizes, **small, structure_channels=16),
        StyleGAN2Generator(z_dim=16, num_mapping_layers=2, **sizes),
    )


def memory_mb():
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def visit(address, number, until, folder, counts, waits):
    """One client's requests, one after the other."""
    rng = np.random.default_rng(number)
    client = Client(address, verbose=False)
    hole = np.zeros((90, 120), bool)
    hole[20:60, 30:80] = True
    mask = folder / f"mask_{number}.png"
    Image.fromarray(hole.astype(np.uint8) * 255).save(mask)
    while time.monotonic() < until:
        pixels = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
        photo = folder / f"photo_{number}.png"
        Image.fromarray(pixels).save(photo)
        start = time.monotonic()
        files = handle_file(photo), handle_file(mask)
        try:
            job = client.submit(*files, texture="none", api_name="/inpaint_image_and_mask")
            if random.random() < LEAVING:
                job.cancel()
                client = Client(address, verbose=False)
                counts["left"] += 1
                continue
            _, gallery = job.result()
        except Exception as error:
            full = "full" in str(error).lower()
            counts["told that the queue is full" if full else f"error: {error}"] += 1
            continue
        image = gallery[0]["image"]
        result = np.asarray(Image.open(image if isinstance(image, str) else image["path"]))
        right = np.array_equal(result[~hole], pixels[~hole])
        counts["right" if right else "WRONG PICTURE"] += 1
        waits.append(time.monotonic() - start)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args(argv)
    models = tiny_pipeline() if arguments.tiny else Models(bundled_models(), engine="eager")
    demo = build_demo(models)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **LOOK)
    counts, waits, memory = Counter(), [], []
    with tempfile.TemporaryDirectory() as folder:
        until = time.monotonic() + arguments.seconds
        threads = [
            threading.Thread(
                target=visit, args=(address, n, until, Path(folder), counts, waits), daemon=True
            )
            for n in range(arguments.clients)
        ]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            time.sleep(arguments.seconds / 12)
            memory.append(memory_mb())
        for thread in threads:
            thread.join(timeout=60)
    counts["never answered"] = sum(thread.is_alive() for thread in threads)
    for what, count in sorted(counts.items()):
        print(f"{what:<30} {count}")
    if waits:
        print(f"{'median wait, s':<30} {np.median(waits):.2f}")
        print(f"{'longest wait, s':<30} {max(waits):.2f}")
    print(f"{'memory, MB, over the run':<30} {' '.join(f'{m:.0f}' for m in memory)}")
    demo.close()


if __name__ == "__main__":
    main()
