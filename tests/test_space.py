"""The demo from nothing but a Space's files, and from the wheel; without network."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from inpaint_hub.pipelines.bundle import BUNDLE, DETECTOR, OUTPAINTING

ROOT = Path(__file__).parent.parent
# Python runs this before anything else: no connection leaves the machine.
NO_NETWORK = """
import socket
connect = socket.socket.connect
def local(self, address):
    if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
        raise OSError(f"no network: {address}")
    return connect(self, address)
socket.socket.connect = local
"""
pytestmark = pytest.mark.slow


def environment(folder, **more):
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"} | more


def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def running(command, cwd, env):
    port = free_port()
    process = subprocess.Popen(
        [*command, "--port", str(port)], cwd=cwd, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 400
        while True:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline, "no answer"
            try:
                urllib.request.urlopen(address, timeout=5)
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.2)
        yield address
    finally:
        process.kill()
        process.wait()


def answers(address):
    photo, mask = (ROOT / "examples" / name for name in ("face.png", "face_mask.png"))
    client = Client(address, verbose=False)
    _, gallery = client.predict(
        handle_file(photo), handle_file(mask), api_name="/inpaint_image_and_mask"
    )
    image = gallery[0]["image"]
    result = np.array(Image.open(image if isinstance(image, str) else image["path"]))
    hole = np.array(Image.open(mask)) > 127
    original = np.array(Image.open(photo))
    assert np.array_equal(result[~hole], original[~hole])
    assert not np.array_equal(result[hole], original[hole])


def test_a_folder_with_a_spaces_files_alone_answers_without_network(tmp_path):
    space = tmp_path / "space"
    space.mkdir()
    for name in ("app.py", "README.md", "requirements.txt"):
        shutil.copy(ROOT / name, space / name)
    for name in ("inpaint_hub", "examples", *(f"weights/{w}" for w in BUNDLE.values())):
        shutil.copytree(ROOT / name, space / name)
    for name in (DETECTOR, OUTPAINTING):
        shutil.copytree(ROOT / "weights" / name, space / "weights" / name)
    with running([sys.executable, "app.py"], space, environment(tmp_path)) as address:
        answers(address)


def test_what_the_dockerfile_copies_answers_to_its_command_without_network(tmp_path):
    """Docker's own steps, in a fresh folder; the packages are those of this environment."""
    image = tmp_path / "image"
    image.mkdir()
    settings, command = {}, None
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        word, _, rest = line.partition(" ")
        if word == "COPY":
            *sources, target = [one for one in rest.split() if not one.startswith("--")]
            for source in sources:
                place = image / (target if target not in (".", "./") else source)
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, place)
        elif word == "ENV":
            settings |= dict(pair.split("=", 1) for pair in rest.split())
        elif word == "CMD":
            command = json.loads(rest)
    assert settings["GRADIO_SERVER_NAME"] == "0.0.0.0" and command[0] == "python"
    env = environment(tmp_path, GRADIO_SERVER_NAME=settings["GRADIO_SERVER_NAME"])
    with running([sys.executable, *command[1:]], image, env) as address:
        answers(address)


def test_the_wheel_works_from_any_folder_without_network(tmp_path):
    built, installed, elsewhere = (tmp_path / name for name in ("built", "installed", "elsewhere"))
    elsewhere.mkdir()
    pip = [sys.executable, "-m", "pip", "-q"]
    options = ["--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *options, "-w", built, ROOT], check=True)
    wheel = next(built.glob("*.whl"))
    assert wheel.stat().st_size < 80e6
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, wheel], check=True)
    env = environment(installed)
    command = [sys.executable, str(installed / "bin" / "inpaint-hub")]
    examples = ROOT / "examples"
    fill = ["fill", "--image", examples / "face.png", "--mask", examples / "face_mask.png"]
    subprocess.run([*command, *fill, "--output", "filled.png"], cwd=elsewhere, env=env, check=True)
    assert Image.open(elsewhere / "filled.png").size == (256, 256)
    for name in ("train", "evaluate", "convert", "faces"):
        subprocess.run([*command, name, "--help"], cwd=elsewhere, env=env, check=True)
    with running([*command, "demo"], elsewhere, env) as address:
        answers(address)


def test_the_flag_mcp_serves_the_endpoints_as_tools():
    pytest.importorskip("mcp")
    with running([sys.executable, "app.py", "--mcp"], ROOT, dict(os.environ)) as address:
        tools = {tool.name for tool in asyncio.run(listed(f"{address}/gradio_api/mcp/"))}
    assert tools == {"inpaint_image_and_mask", "inpaint", "outpaint"}


async def listed(url):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async with streamablehttp_client(url) as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            return (await session.list_tools()).tools
