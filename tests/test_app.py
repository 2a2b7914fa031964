"""The demo for programs: its endpoints, its messages, its files."""

import asyncio
import base64
import io
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from demo_page import Recorded, photo_file, served, tiny_pipeline
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image, ImageCms

from inpaint_hub import provenance
from inpaint_hub.demo import launch
from inpaint_hub.demo.filling import SEAMS
from inpaint_hub.images import read_images

ROOT = Path(__file__).parent.parent
BOTH = "/inpaint_image_and_mask"


@pytest.fixture(scope="module")
def address():
    with served(tiny_pipeline()) as url:
        yield url


@pytest.fixture(scope="module")
def client(address):
    return Client(address, verbose=False)


@pytest.fixture
def photo(tmp_path):
    return photo_file(tmp_path)


def mask_file(tmp_path, hole, name="mask.png"):
    Image.fromarray(hole.astype(np.uint8) * 255).save(tmp_path / name)
    return tmp_path / name


def half_hole(size=(70, 50)):
    hole = np.zeros(size[::-1], bool)
    hole[:, : size[0] * 3 // 7] = True
    return hole


def gallery_paths(gallery):
    return [
        item["image"] if isinstance(item["image"], str) else item["image"]["path"]
        for item in gallery
    ]


def test_photo_and_mask_endpoint_keeps_known_pixels(client, tmp_path):
    """And its two results differ."""
    photo, hole = tmp_path / "cat.png", half_hole()
    Image.open(ROOT / "examples" / "chelsea.png").resize((70, 50)).save(photo)
    mask = mask_file(tmp_path, hole)
    _, gallery = client.predict(
        handle_file(photo), handle_file(mask), 0, 2, 0.5, False, api_name=BOTH
    )
    paths = gallery_paths(gallery)
    assert len(paths) == 2
    results = [Image.open(path) for path in paths]
    for result in results:
        assert result.format == "PNG"
        assert np.array_equal(np.array(result)[~hole], np.array(Image.open(photo))[~hole])
    assert not np.array_equal(*map(np.array, results))


def test_before_and_after_are_the_photo_and_the_first_result(client, photo, tmp_path):
    mask = mask_file(tmp_path, half_hole())
    (before, after), gallery = client.predict(handle_file(photo), handle_file(mask), api_name=BOTH)
    assert np.array_equal(np.array(Image.open(before)), np.array(Image.open(photo)))
    assert Path(after).read_bytes() == Path(gallery_paths(gallery)[0]).read_bytes()


def test_each_seam_is_another_fill_with_the_same_known_pixels(client, photo, tmp_path):
    hole = half_hole()
    inputs = handle_file(photo), handle_file(mask_file(tmp_path, hole)), 0, 1, 0, False, 0
    fills = set()
    for _, seam in SEAMS:
        _, gallery = client.predict(*inputs, seam, "none", api_name=BOTH)
        result = np.array(Image.open(gallery_paths(gallery)[0]))
        assert np.array_equal(result[~hole], np.array(Image.open(photo))[~hole])
        fills.add(result[hole].tobytes())
    assert len(fills) == len(SEAMS)


def test_the_same_seed_gives_the_same_result_alone_or_among_others(client, photo, tmp_path):
    mask = mask_file(tmp_path, half_hole())
    inputs = handle_file(photo), handle_file(mask)
    _, three = client.predict(*inputs, 5, 3, 0.5, api_name=BOTH)
    _, one = client.predict(*inputs, 7, 1, 0.5, api_name=BOTH)
    third, alone = (np.array(Image.open(gallery_paths(g)[-1])) for g in (three, one))
    assert np.array_equal(third, alone)


def test_a_mask_drawn_only_in_alpha_is_understood(client, photo, tmp_path):
    hole = half_hole()
    layer = np.zeros((50, 70, 4), np.uint8)
    layer[hole, 3] = 255
    path = tmp_path / "alpha.png"
    Image.fromarray(layer).save(path)
    _, gallery = client.predict(handle_file(photo), handle_file(path), api_name=BOTH)
    result = np.array(Image.open(gallery_paths(gallery)[0]))
    original = np.array(Image.open(photo))
    assert np.array_equal(result[~hole], original[~hole])
    assert not np.array_equal(result[hole], original[hole])


def test_editor_endpoint_reads_the_painted_layer(client, photo, tmp_path):
    hole = half_hole()
    layer = np.zeros((50, 70, 4), np.uint8)
    layer[hole] = (255, 255, 255, 255)
    layer_path = tmp_path / "layer.png"
    Image.fromarray(layer).save(layer_path)
    editor = {
        "background": handle_file(photo),
        "layers": [handle_file(layer_path)],
        "composite": handle_file(photo),
    }
    _, gallery = client.predict(editor, 0, 1, 0, False, api_name="/inpaint")
    result = np.array(Image.open(gallery_paths(gallery)[0]).convert("RGB"))
    original = np.array(Image.open(photo))
    assert np.array_equal(result[~hole], original[~hole])
    assert not np.array_equal(result[hole], original[hole])


def test_outpainting_grows_the_photo_and_keeps_it(client, photo):
    path = client.predict(handle_file(photo), 50, 0, 10, 100, api_name="/outpaint")
    result = np.array(Image.open(path))
    assert result.shape == (100, 70 + 35 + 7, 3)
    assert np.array_equal(result[:50, 35:105], np.array(Image.open(photo)))


@pytest.mark.parametrize(
    "hole, message",
    [(np.zeros((50, 70), bool), "no white"), (None, "no mask")],
    ids=["black", "none"],
)
def test_requests_without_a_hole_get_advice_and_leave_the_page_usable(
    client, photo, tmp_path, hole, message
):
    mask = None if hole is None else handle_file(mask_file(tmp_path, hole))
    with pytest.raises(AppError, match=message):
        client.predict(handle_file(photo), mask, 0, 1, 0, False, api_name=BOTH)
    good = handle_file(mask_file(tmp_path, half_hole()))
    client.predict(handle_file(photo), good, api_name=BOTH)


def test_request_without_a_photo_gets_advice(client):
    with pytest.raises(AppError, match="upload a photo"):
        client.predict(None, None, 0, 1, 0, False, api_name=BOTH)
    empty = {"background": None, "layers": [], "composite": None}
    with pytest.raises(AppError, match="upload a photo"):
        client.predict(empty, 0, 1, 0, False, api_name="/inpaint")


DAMAGED = {
    "text.png": b"this is text",
    "cut.png": None,  # the first half of a PNG
    "broken.ppm": b"P6\nx y\n255\n",
    "empty.jpg": b"",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_no_picture_gets_advice_without_traceback_or_path(
    client, photo, tmp_path, name
):
    data = DAMAGED[name]
    if data is None:
        data = photo.read_bytes()
        data = data[: len(data) // 2]
    (tmp_path / name).write_bytes(data)
    mask = handle_file(mask_file(tmp_path, half_hole()))
    with pytest.raises(AppError, match="cannot be read as a picture") as refusal:
        client.predict(handle_file(tmp_path / name), mask, api_name=BOTH)
    assert "Traceback" not in str(refusal.value) and "/tmp" not in str(refusal.value)
    assert "Save it again" in str(refusal.value)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": None}, "seed is empty"),
        ({"seed": 10**30}, "0 to 4294967295"),
        ({"seed": -1}, "0 to 4294967295"),
        ({"seed": 0.5}, "whole number"),
        ({"num_results": 9}, "1 to 8"),
        ({"variation": 2}, "from 0 to 1"),
        ({"seam": "glue"}, "choose one of"),
        ({"texture": "wool"}, "choose one of"),
        ({"model": "nobody"}, "choose one of"),
        ({"model": "../../etc"}, "choose one of"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_settings_that_cannot_be_are_refused_with_what_can(
    client, photo, tmp_path, change, message
):
    inputs = handle_file(photo), handle_file(mask_file(tmp_path, half_hole()))
    with pytest.raises(AppError, match=message):
        client.predict(*inputs, **change, api_name=BOTH)


def test_everything_masked_is_filled(client, photo, tmp_path):
    full = handle_file(mask_file(tmp_path, np.ones((50, 70), bool)))
    _, gallery = client.predict(handle_file(photo), full, api_name=BOTH)
    assert Image.open(gallery_paths(gallery)[0]).size == (70, 50)


def test_more_pixels_than_a_request_may_take_are_refused_before_any_work(client, tmp_path):
    Image.new("L", (4096, 4096), 90).save(tmp_path / "large.png")
    mask = np.zeros((4096, 4096), bool)
    mask[10:30, 10:30] = True
    inputs = handle_file(tmp_path / "large.png"), handle_file(mask_file(tmp_path, mask))
    before = len(Recorded.calls)
    with pytest.raises(AppError, match="at most 3 at a time"):
        client.predict(*inputs, 0, 8, api_name=BOTH)
    assert len(Recorded.calls) == before


def test_what_is_too_large_for_the_page_is_refused_by_its_header(client, photo, tmp_path):
    Image.new("1", (14000, 14000)).save(tmp_path / "bomb.png")
    with pytest.raises(AppError, match=r"14000 x 14000 px|cannot be read"):
        client.predict(handle_file(tmp_path / "bomb.png"), handle_file(photo), api_name=BOTH)


# --- modes that a page cannot show as they are ----------------------------------------------------


def filled(client, tmp_path, image, name):
    hole = half_hole(image.size)
    image.save(tmp_path / name)
    (before, _), gallery = client.predict(
        handle_file(tmp_path / name), handle_file(mask_file(tmp_path, hole)), api_name=BOTH
    )
    return hole, Image.open(before), Image.open(gallery_paths(gallery)[0])


def test_16_bit_gray_comes_back_with_its_16_bits(client, tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (50, 70), dtype=np.uint16)
    hole, before, result = filled(client, tmp_path, Image.fromarray(values), "deep.png")
    assert result.mode.startswith("I;16")
    assert np.array_equal(np.array(result)[~hole], values[~hole])
    shown = np.array(before)
    assert np.array_equal(shown if shown.ndim == 2 else shown[..., 0], np.rint(values / 257))


@pytest.mark.parametrize(
    "mode, name", [("CMYK", "print.jpg"), ("F", "float.tif"), ("LAB", "lab.tif")]
)
def test_modes_no_page_can_show_come_back_as_8_bit_rgb(client, tmp_path, mode, name):
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    if mode == "F":
        image = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.float32) / 255)
        expected = np.repeat(np.asarray(rgb.convert("L"))[..., None], 3, axis=2)
    elif mode == "LAB":
        image = Image.frombytes(mode, rgb.size, np.asarray(rgb).tobytes())
        expected = read_images(image)[0].pixels
    else:
        image = rgb.convert(mode)
        image.save(tmp_path / name)
        expected = np.asarray(Image.open(tmp_path / name).convert("RGB"))
    hole, before, result = filled(client, tmp_path, image, name)
    assert result.mode == "RGB"
    assert np.array_equal(np.array(result)[~hole], expected[~hole])
    assert np.array_equal(np.array(before.convert("RGB")), expected)


def test_a_cmyk_profile_does_not_stay_on_an_rgb_picture(client, tmp_path):
    header = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    header[16:20] = b"CMYK"
    image = Image.new("CMYK", (70, 50), (10, 200, 30, 40))
    image.save(tmp_path / "print.tif", icc_profile=bytes(header))
    _, before, result = filled(client, tmp_path, Image.open(tmp_path / "print.tif"), "p.tif")
    assert "icc_profile" not in result.info and "icc_profile" not in before.info


def test_an_rgb_profile_stays(client, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (70, 50), (200, 30, 40)).save(tmp_path / "a.png", icc_profile=profile)
    _, _, result = filled(client, tmp_path, Image.open(tmp_path / "a.png"), "a.png")
    assert result.info["icc_profile"] == profile


def test_a_rotated_photo_is_filled_upright(client, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6  # to be turned a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    hole = half_hole((50, 70))
    _, gallery = client.predict(
        handle_file(tmp_path / "turned.png"),
        handle_file(mask_file(tmp_path, hole)),
        api_name=BOTH,
    )
    result = Image.open(gallery_paths(gallery)[0])
    upright = np.rot90(pixels, -1)
    assert np.array_equal(np.array(result)[~hole], upright[~hole])
    assert result.getexif().get(274, 1) == 1


# --- what is in the files, and what the page gives away -------------------------------------------


def test_results_are_named_after_the_photo_and_say_where_they_came_from(client, photo, tmp_path):
    hole = half_hole()
    _, gallery = client.predict(
        handle_file(photo), handle_file(mask_file(tmp_path, hole)), 3, api_name=BOTH
    )
    path = gallery_paths(gallery)[0]
    assert Path(path).name == "holiday_filled.png"
    notes = provenance.read(Image.open(path))
    assert notes["pipeline"] == "Recorded" and notes["seed"] == 3
    assert notes["coverage"] == pytest.approx(hole.mean(), abs=1e-6)


def test_nothing_the_page_tells_names_a_folder_of_the_server(address):
    for page in ("/config", "/gradio_api/info"):
        with urllib.request.urlopen(address.rstrip("/") + page) as answer:
            text = answer.read().decode()
        for folder in (str(ROOT), str(Path.home()), "/tmp/"):
            assert folder not in text, f"{page} names {folder}"


def test_files_of_the_server_are_not_for_visitors(address, client, tmp_path):
    for path in ("/etc/passwd", str(ROOT / "README.md"), f"{tmp_path}/x"):
        with pytest.raises(urllib.error.HTTPError, match="40"):
            urllib.request.urlopen(f"{address.rstrip('/')}/gradio_api/file={path}")


def test_the_page_is_named_endpoints_and_nothing_else(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/inpaint", BOTH, "/outpaint"}


def test_every_endpoint_and_parameter_is_described(address):
    with urllib.request.urlopen(address.rstrip("/") + "/gradio_api/info") as answer:
        endpoints = json.load(answer)["named_endpoints"]
    for name, endpoint in endpoints.items():
        assert len(endpoint["description"]) > 20, name
        for parameter in endpoint["parameters"]:
            assert len(parameter["label"]) > 15, (name, parameter)


PAGE = (ROOT / "docs" / "DEMO.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("language, program", [("python", sys.executable), ("bash", "bash")])
def test_the_documents_calls_run_as_they_stand(address, language, program):
    if language == "bash" and not shutil.which("curl"):
        pytest.skip("no curl on this machine")
    code = next(
        code
        for code in re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
        if "inpaint_image_and_mask" in code
    )
    assert "http://127.0.0.1:7860" in code
    code = code.replace("http://127.0.0.1:7860", address.rstrip("/"))
    done = subprocess.run([program, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "face_filled.png" in done.stdout, done.stdout


@pytest.mark.slow
def test_the_documents_javascript_runs_as_it_stands(address, tmp_path):
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no node on this machine")
    code = re.search(r"```javascript\n(.*?)```", PAGE, flags=re.DOTALL)[1]
    install = re.search(r"`npm (install @gradio/client)`", PAGE)[1].split()
    done = subprocess.run(["npm", *install], cwd=tmp_path, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no package from the registry: {done.stderr[-200:]}")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "fill.mjs").write_text(code.replace("http://127.0.0.1:7860", address.rstrip("/")))
    done = subprocess.run(
        ["node", "fill.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    with urllib.request.urlopen(done.stdout.strip()) as answer:
        result = np.array(Image.open(answer))
    hole = np.array(Image.open(ROOT / "examples" / "face_mask.png")) > 127
    original = np.array(Image.open(ROOT / "examples" / "face.png"))
    assert np.array_equal(result[~hole], original[~hole])


@pytest.mark.slow
def test_as_an_mcp_server_its_endpoints_are_tools_that_fill(photo):
    pytest.importorskip("mcp")
    with served(tiny_pipeline(), mcp_server=True) as url:
        tools, refused, answer = asyncio.run(spoken_to(f"{url}gradio_api/mcp/", photo))
    assert {"inpaint_image_and_mask", "inpaint", "outpaint"} == set(tools)
    parameters = tools["outpaint"].inputSchema["properties"]
    assert "percent of the width" in parameters["left"]["description"]
    assert "Make a photo larger" in tools["outpaint"].description
    assert "from 0 to 100" in str(refused.content) and "Traceback" not in str(refused.content)
    picture = next(part for part in answer.content if part.type == "image")
    result = np.array(Image.open(io.BytesIO(base64.b64decode(picture.data))).convert("RGB"))
    assert result.shape == (50, 105, 3)
    assert np.array_equal(result[:, 35:], np.array(Image.open(photo)))


async def spoken_to(address, photo):
    """(tools by name, answer to borders that cannot be, answer to those that can)."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    url = "data:image/png;base64," + base64.b64encode(photo.read_bytes()).decode()
    async with streamablehttp_client(address) as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            refused = await session.call_tool("outpaint", {"photo": url, "left": 500})
            answer = await session.call_tool("outpaint", {"photo": url, "left": 50})
            return tools, refused, answer


def test_gradio_is_the_pinned_one():
    assert gr.__version__ == "6.31.0"


# --- flags ----------------------------------------------------------------------------------------


def test_a_device_that_is_not_there_is_refused_in_one_sentence(capsys):
    with pytest.raises(SystemExit) as end:
        launch.main(["--device", "cuda:7"])
    assert end.value.code == 2
    assert "--device cuda:7 is not to be had here" in capsys.readouterr().err


def test_the_host_is_the_flag_then_gradios_variable_then_loopback(monkeypatch):
    parsed = lambda *flags: launch.build_parser().parse_args(flags).host  # noqa: E731
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    assert parsed() == "127.0.0.1"
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert parsed() == "0.0.0.0"
    assert parsed("--host", "::1") == "::1"
