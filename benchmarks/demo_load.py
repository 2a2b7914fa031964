"""Many clients at once: does everybody get their own picture, is memory flat, is the queue honest?

    python -m benchmarks.demo_load --clients 20 --seconds 120 [--tiny]
    python -m benchmarks.demo_load --clients 8 --requests 500 --tiny

Starts the demo on loopback, in a process of its own (--tiny: on an untrained pipeline of 32 px, so
that the page is measured and not the model), and lets each client fill photos of its own until the
time is over or the requests are made. Every known pixel of every answer is checked. Every tenth
client hangs up before the answer: its request must not hold up others. The memory is that of the
server alone, after the first requests, and at the end when nobody asks any more.
"""

import argparse
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
from PIL import Image

from inpaint_hub import InvertFillEncoder, InvertFillPipeline, StyleGAN2Generator

LEAVING = 10  # one request of so many is left before its answer
SIZE = (120, 90)
WARM_UP = 12  # requests before the first look at the memory
PATIENCE_SECONDS = 300


def tiny_pipeline():
    torch.manual_seed(0)
    sizes = {"resolution": 32, "w_dim": 16, "channel_base": 256, "channel_max": 16}
    small = {"backbone": "small", "backbone_width": 8, "style_channels": 16}
    return InvertFillPipeline(
        InvertFillEncoder(**sizes, **small, structure_channels=16),
        StyleGAN2Generator(z_dim=16, num_mapping_layers=2, **sizes),
    )


# --- the server -----------------------------------------------------------------------------------


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def serving(folder, tiny):
    """(address, process) of a demo whose temporary files lie in the folder."""
    command = [sys.executable, "-m", "inpaint_hub.demo", "--port", str(free_port()), "--no_hub"]
    if tiny:
        tiny_pipeline().save_pretrained(folder / "tiny")
        command += ["--model", str(folder / "tiny")]
    (folder / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(folder / "tmp")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{command[command.index('--port') + 1]}"
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the demo did not start")
            time.sleep(0.2)
        yield address, process
    finally:
        process.kill()
        process.wait()


def answers(address):
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except (urllib.error.URLError, TimeoutError):
        return False


def memory_mb(process):
    """Resident memory of a process."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def threads_of(process):
    return len(list(Path(f"/proc/{process.pid}/task").iterdir()))


# --- one client, in plain HTTP --------------------------------------------------------------------


def upload(address, data, name):
    """Path on the server of an uploaded file's bytes."""
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{mark}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    return asked(urllib.request.Request(f"{address}/gradio_api/upload", body, kind))[0]


def asked(request):
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        return json.load(answer)


def begin(address, photo, mask, texture="none"):
    """Ask for a fill; the request's number, to wait with."""
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in (photo, mask)]
    body = json.dumps({"data": [*files, 0, 1, 0, False, 0, "gp", texture, None]}).encode()
    kind = {"Content-Type": "application/json"}
    url = f"{address}/gradio_api/call/inpaint_image_and_mask"
    return asked(urllib.request.Request(url, body, kind))["event_id"]


@contextmanager
def listening(address, number):
    """The stream of a request's messages; left, the client is gone."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", f"/gradio_api/call/inpaint_image_and_mask/{number}")
        yield connection.getresponse()
    finally:
        connection.close()


def finish(stream):
    """Address of the filled picture.

    Raises: RuntimeError with what the server says instead.
    """
    event = ""
    for line in stream:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event == "complete":
            return json.loads(value)[1][0]["image"]["url"]
        elif name == "data" and event == "error":
            raise RuntimeError(str(json.loads(value)))
    raise RuntimeError("the answer broke off")


def one_request(address, number, rng, leaving):
    """What came of it: "right", "WRONG PICTURE" or "left"."""
    hole = np.zeros(SIZE[::-1], bool)
    top, left = rng.integers(5, 40, 2)
    hole[top : top + 40, left : left + 50] = True
    pixels = rng.integers(0, 256, (*hole.shape, 3), dtype=np.uint8)
    photo = upload(address, png(pixels), f"photo_{number}.png")
    mask = upload(address, png(hole.astype(np.uint8) * 255), f"mask_{number}.png")
    with listening(address, begin(address, photo, mask)) as stream:
        if leaving:
            return "left"
        url = finish(stream)
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        result = np.asarray(Image.open(io.BytesIO(answer.read())))
    right = result.shape == pixels.shape and np.array_equal(result[~hole], pixels[~hole])
    return "right" if right else "WRONG PICTURE"


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def visit(address, number, go_on, counts, waits):
    """One client's requests, one after the other, while go_on() says so."""
    rng = np.random.default_rng(number)
    made = 0
    while go_on():
        made += 1
        start = time.monotonic()
        try:
            what = one_request(address, number, rng, (made + number) % LEAVING == 0)
        except urllib.error.HTTPError as error:
            told = json.load(error).get("detail", error)
            what = "told that the queue is full" if "full" in str(told) else f"error: {told}"
        except Exception as error:
            what = f"error: {type(error).__name__}: {error}"
        counts[what] += 1
        if what == "right":
            waits.append(time.monotonic() - start)


# --- all of them ----------------------------------------------------------------------------------


def run_clients(address, clients, go_on, patience=PATIENCE_SECONDS, look=lambda: None):
    """(Counter of what came of the requests, seconds that answers took); look() is called while
    they run. Clients that have not ended after so many seconds of patience are counted, too."""
    counts, waits = Counter(), []
    threads = [
        threading.Thread(target=visit, args=(address, n, go_on, counts, waits), daemon=True)
        for n in range(clients)
    ]
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        time.sleep(0.05)
        look()
    counts["never answered"] = sum(thread.is_alive() for thread in threads)
    return counts, waits


def limited(requests):
    """A function that is true so many times, for all threads together."""
    left, lock = [requests], threading.Lock()

    def go_on():
        with lock:
            left[0] -= 1
            return left[0] >= 0

    return go_on


def report(counts, waits, memory, end, folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    rows = [(what, number) for what, number in sorted(counts.items())]
    if waits:
        rows.append(("median wait, s", f"{np.median(waits):.2f}"))
        rows.append(("longest wait, s", f"{max(waits):.2f}"))
    rows.append(("memory, MB, over the run", " ".join(f"{m:.0f}" for m in memory)))
    rows.append(("at the end, nobody asking", f"{end:.0f}"))
    size = sum(path.stat().st_size for path in files) / 1e6
    rows.append(("temporary files", f"{len(files)}, {size:.1f} MB"))
    for what, value in rows:
        print(f"{what:<30} {value}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--requests", type=int, help="as many, instead of a time")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), arguments.tiny) as served:
        address, process = served
        run_clients(address, 4, limited(WARM_UP))
        memory, interval = [memory_mb(process)], arguments.seconds / 12
        start = next_look = time.monotonic()
        ends = start + arguments.seconds
        go_on = limited(arguments.requests or 0)
        if not arguments.requests:
            go_on = lambda: time.monotonic() < ends  # noqa: E731

        def look():
            nonlocal next_look
            if time.monotonic() > next_look:
                next_look += interval
                memory.append(memory_mb(process))

        patience = arguments.seconds + PATIENCE_SECONDS
        counts, waits = run_clients(address, arguments.clients, go_on, patience, look)
        print(f"{'seconds':<30} {time.monotonic() - start:.0f}")
        print(f"{'threads of the server':<30} {threads_of(process)}")
        time.sleep(5)
        report(counts, waits, memory, memory_mb(process), Path(folder) / "tmp")


if __name__ == "__main__":
    main()
