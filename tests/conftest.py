"""Every test runs without a network and with its own home for caches."""

import importlib.util
import os
import sys
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # each core has a process already
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from PIL import Image

if importlib.util.find_spec("torchvision"):  # of the extra `metrics`; diffusers imports it, too
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        # One built for another torch lacks its compiled operators; none is used here, and declaring
        # them lets it import.
        for name in ("nms", "qnms"):
            boxes = "Tensor dets, Tensor scores, float iou_threshold"
            torch.library.define(f"torchvision::{name}", f"({boxes}) -> Tensor")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
sys.path.insert(0, str(Path(__file__).parent.parent))


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with pictures, pipelines of a generator and of pSp, and a perceptual network."""
    from safetensors.torch import save_file
    from training_runs import TINY

    from inpaint_hub import PSPEncoder, PSPPipeline
    from inpaint_hub.losses.perceptual import ProjectionFeatures
    from inpaint_hub.pipelines.stylegan2 import StyleGAN2Pipeline
    from inpaint_hub.stylegan2 import StyleGAN2Generator

    folder = tmp_path_factory.mktemp("runs")
    (folder / "pictures").mkdir()
    for i in range(7):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{i}.png")
    torch.manual_seed(0)
    names = ("resolution", "z_dim", "w_dim", "num_mapping_layers", "channel_base", "channel_max")
    gan = StyleGAN2Generator(**{name: TINY[name] for name in names})
    StyleGAN2Pipeline(gan=gan).save_pretrained(folder / "gan")
    widths = {"backbone": "small", "backbone_width": 8, "style_channels": 8}
    encoder = PSPEncoder(resolution=TINY["resolution"], w_dim=TINY["w_dim"], **widths)
    PSPPipeline(encoder=encoder, gan=gan).save_pretrained(folder / "psp")
    state = ProjectionFeatures().state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "network.safetensors")
    return folder


@pytest.fixture(scope="module")
def browser():
    from demo_page import CHROMIUM
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
