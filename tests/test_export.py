"""A pipeline as one ONNX file gives PyTorch's pictures, in onnxruntime and in a browser."""

import functools
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inpaint_hub import (
    AutoInpaintPipeline,
    CoarseToFinePipeline,
    CoModGANGenerator,
    CoModGANPipeline,
    DualPathPipeline,
    FaceDetector,
    FeedForwardPipeline,
    InvertFillEncoder,
    InvertFillPipeline,
    LahiriEncoder,
    LahiriPipeline,
    PSPEncoder,
    PSPPipeline,
    Refiner,
    StyleGAN2Generator,
    StyleGAN2Pipeline,
    WPlusSearchPipeline,
)
from inpaint_hub.dualpath import DualPathInpainter
from inpaint_hub.export import check_onnx, export_onnx, main

ROOT = Path(__file__).parent.parent
WIDTHS = {"channel_base": 256, "channel_max": 8}
SMALL = {"backbone": "small", "backbone_width": 8, "style_channels": 8}
INPAINTER = {"resolution": 32, "channels": 8, **WIDTHS}


def lively(network):
    """What starts at zero would hide: every part takes part."""
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network


def tiny(kind, s=32):
    torch.manual_seed(0)
    gan = lively(StyleGAN2Generator(resolution=s, z_dim=8, w_dim=8, num_mapping_layers=1, **WIDTHS))
    if kind == "search":
        return WPlusSearchPipeline(gan=gan)
    if kind == "feedforward":
        return FeedForwardPipeline(lively(DualPathInpainter(fusion="none", **INPAINTER)))
    if kind == "comodgan":
        sizes = {"resolution": s, "z_dim": 8, "w_dim": 8, "global_dim": 8, **WIDTHS}
        return CoModGANPipeline(lively(CoModGANGenerator(num_mapping_layers=1, **sizes)))
    if kind == "lahiri":
        return LahiriPipeline(lively(LahiriEncoder(resolution=s, z_dim=8, **SMALL)), gan)
    if kind == "refined":
        return CoarseToFinePipeline(tiny("psp", s), lively(Refiner(resolution=2 * s, channels=4)))
    encoder = PSPEncoder(resolution=s, w_dim=8, delta_rows=kind == "e4e", **SMALL)
    if "invertfill" in kind:
        encoder = InvertFillEncoder(resolution=s, w_dim=8, structure_channels=8, **SMALL, **WIDTHS)
    lively(encoder)
    if "dualpath" in kind:
        inpainter = lively(DualPathInpainter(**INPAINTER))
        return DualPathPipeline(encoder=encoder, gan=gan, inpainter=inpainter)
    joined = InvertFillPipeline if kind == "invertfill" else PSPPipeline
    return joined(encoder=encoder, gan=gan)


NETWORKS = {"feedforward": 1, "comodgan": 1, "refined": 3}
NETWORKS |= {"dualpath": 3, "dualpath on invertfill": 3}
SLOW = ("invertfill", "dualpath", "psp", "e4e", "lahiri", "comodgan")


@pytest.mark.parametrize(
    "kind",
    [
        "dualpath on invertfill",  # everything there is, in one graph
        "feedforward",
        "refined",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW),
    ],
)
def test_the_file_gives_pytorchs_pictures_for_any_batch(tmp_path, kind):
    import onnx
    import onnxruntime

    pipeline, file = tiny(kind), tmp_path / "fill.onnx"
    s = pipeline.resolution
    fill = export_onnx(pipeline, file)
    assert len(fill.networks) == NETWORKS.get(kind, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["fill.onnx"]
    model = onnx.load(file)
    assert max(o.version for o in model.opset_import if o.domain == "") >= 18
    for count in (1, 3):
        assert check_onnx(fill, file, count) <= 1e-4
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((2, 3, s, s), dtype=np.float32)
    mask = np.zeros((2, 1, s, s), np.float32)
    mask[:, :, 5:20, 8:] = 1
    (found,) = session.run(None, {"image": image, "mask": mask})
    known = np.broadcast_to(mask < 0.5, image.shape)
    assert (found[known] == image[known]).all()
    # What is in the hole is not looked at, and the pipeline draws the same.
    image[~known] = 0.123
    (again,) = session.run(None, {"image": image, "mask": mask})
    assert (again == found).all()
    masked = torch.from_numpy(image * 2 - 1).masked_fill(torch.from_numpy(~known), 0)
    with torch.no_grad():
        latent = pipeline.encode(masked, torch.from_numpy(mask))
        drawn = pipeline.render(latent, masked, torch.from_numpy(mask))["generated"]
    drawn = (drawn / 2 + 0.5).clamp(0, 1).numpy()
    assert np.abs(drawn - found)[~known].max() <= 1e-4
    assert np.ptp(found[~known]) > 0.05


def test_what_no_graph_holds_and_old_opsets_are_refused(tmp_path):
    gan = tiny("search").gan
    parts = tiny("invertfill"), tiny("feedforward")
    detector = FaceDetector.from_pretrained(ROOT / "weights" / "face-detector")
    for pipeline, reason in (
        (tiny("search"), "searches"),
        (StyleGAN2Pipeline(gan=gan), "fills no holes"),
        (AutoInpaintPipeline(*parts, detector), "export each"),
    ):
        with pytest.raises(ValueError, match=reason):
            export_onnx(pipeline, tmp_path / "no.onnx")
    with pytest.raises(ValueError, match="at least 18"):
        export_onnx(tiny("invertfill"), tmp_path / "no.onnx", opset=11)
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "nothing"), str(tmp_path / "no.onnx")])
    assert stopped.value.code == 2 and not (tmp_path / "no.onnx").exists()


# ---- in a browser ------------------------------------------------------------------------------


@pytest.fixture
def runtime(tmp_path):
    """onnxruntime-web's files, from npm; from examples/web/ort where they lie there already."""
    folder = tmp_path / "web" / "ort"
    if (ROOT / "examples" / "web" / "ort").is_dir():
        shutil.copytree(ROOT / "examples" / "web" / "ort", folder)
        return folder
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    command = ["npm", "pack", "onnxruntime-web@1.30.0", "--silent"]
    packed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    archives = list(tmp_path.glob("*.tgz"))
    if packed.returncode or not archives:
        pytest.skip(f"onnxruntime-web cannot be had: {packed.stderr[-200:]}")
    shutil.unpack_archive(archives[0], tmp_path, filter="data")
    folder.mkdir(parents=True)
    for name in ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        shutil.copy(tmp_path / "package" / "dist" / name, folder)
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.mark.slow
def test_the_page_fills_the_bundled_example_in_a_browser(tmp_path, runtime):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    fill = export_onnx(tiny("dualpath on invertfill"), tmp_path / "web" / "model.onnx")
    shutil.copy(ROOT / "examples" / "web" / "index.html", tmp_path / "web")
    for name in ("face.png", "face_mask.png"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
    handler = functools.partial(Quiet, directory=tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            requests = []
            page.on("request", lambda request: requests.append(request.url))
            page.goto(f"http://127.0.0.1:{server.server_port}/web/")
            page.wait_for_function(
                "!/Loading/.test(document.getElementById('status').textContent)", timeout=120_000
            )
            assert page.text_content("#status") == "Ready: a network of 32 px."
            result = page.evaluate("fill().then((r) => [r.width, r.height, Array.from(r.data)])")
            seen = page.evaluate("(({image, mask}) => [[...image], [...mask]])(networkInput())")
            browser.close()
    finally:
        server.shutdown()
    assert all(url.startswith(("http://127.0.0.1", "blob:", "data:")) for url in requests)
    photo = np.asarray(Image.open(ROOT / "examples" / "face.png").convert("RGB"))
    hole = np.asarray(Image.open(ROOT / "examples" / "face_mask.png").convert("L")) > 127
    width, height, data = result
    filled = np.array(data, np.uint8).reshape(height, width, 4)[..., :3]
    assert filled.shape == photo.shape
    assert (filled[~hole] == photo[~hole]).all() and (filled[hole] != photo[hole]).any()
    image, mask = (torch.tensor(v).reshape(1, c, 32, 32) for v, c in zip(seen, (3, 1)))
    with torch.no_grad():
        expected = fill(image, mask)[0].permute(1, 2, 0).numpy() * 255
    expected = Image.fromarray(expected.round().astype(np.uint8)).resize(hole.shape[::-1])
    # The page enlarges as its browser does: the same picture, not the same bytes.
    assert np.abs(np.asarray(expected, float) - filled)[hole].mean() < 8
