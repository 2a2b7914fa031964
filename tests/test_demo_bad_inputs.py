"""What cannot be, asked for over HTTP: each row is refused with a sentence, before any work, and
harms nobody after it."""

import io
import json
import struct
import urllib.error
import urllib.request
import zlib

import numpy as np
import pytest
from demo_page import Recorded, served, tiny_pipeline
from PIL import Image

from benchmarks.demo_load import asked, one_request, png, upload

SIZE = (30, 20)


@pytest.fixture(scope="module")
def address():
    with served(tiny_pipeline()) as url:
        yield url.rstrip("/")


def picture(size=SIZE, kind="PNG", mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, size, 90).save(buffer, kind)
    return buffer.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header_of(width, height):
    """A PNG that says it is so large, and ends there."""
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    )


UNREADABLE = {
    "text.png": b"this is text",
    "empty.jpg": b"",
    "cut.png": picture((200, 100))[:120],
    "cut.jpg": picture((200, 100), "JPEG")[:200],
    "header.png": b"\x89PNG\r\n\x1a\n",
    "size.ppm": b"P6\nx y\n255\n",
    "short.ppm": b"P6\n9 9\n255\nabc",
    "page.html": b"<html><body>a page</body></html>",
    "some.pdf": b"%PDF-1.4\n%%EOF",
    "code.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "bytes.bmp": b"BM" + bytes(60),
    "bytes.tif": b"II*\x00" + bytes(40),
    "bytes.webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "bytes.gif": b"GIF89a" + bytes(4),
    "bomb.png": header_of(30000, 30000),
    "none.png": header_of(0, 0),
}
PHOTO, MASK = "good photo", "good mask"
SETTINGS = {
    "seed": 0,
    "num_results": 1,
    "variation": 0,
    "around_holes": False,
    "soft_seam": 0,
    "seam": "gp",
    "texture": "none",
    "model": None,
}
BORDERS = {"left": 10, "top": 0, "right": 0, "bottom": 0}
LAST = {name: SETTINGS[name] for name in ("seam", "texture", "model")}
BOTH, PAINTED, LARGER = "inpaint_image_and_mask", "inpaint", "outpaint"
NOT_READ = "cannot be read as a picture|megapixels"
NO_SETTING = [
    ({"seed": None}, "seed is empty"),
    ({"seed": ""}, "seed"),
    ({"seed": "abc"}, "seed"),
    ({"seed": -1}, "0 to 4294967295"),
    ({"seed": 2**32}, "0 to 4294967295"),
    ({"seed": 10**40}, "0 to 4294967295"),
    ({"seed": 0.5}, "whole number"),
    ({"seed": [1]}, "seed"),
    ({"num_results": 0}, "1 to 8"),
    ({"num_results": 9}, "1 to 8"),
    ({"num_results": -3}, "1 to 8"),
    ({"num_results": None}, "number of results is empty"),
    ({"num_results": 1.5}, "1 to 8"),
    ({"variation": -0.1}, "from 0 to 1"),
    ({"variation": 1.1}, "from 0 to 1"),
    ({"variation": None}, "from 0 to 1"),
    ({"variation": "much"}, "from 0 to 1"),
    ({"soft_seam": -1}, "0 to 256"),
    ({"soft_seam": 257}, "0 to 256"),
    ({"soft_seam": None}, "soft seam is empty"),
    ({"seam": "glue"}, "choose one of"),
    ({"seam": None}, "choose one of"),
    ({"seam": ""}, "choose one of"),
    ({"texture": "wool"}, "choose one of"),
    ({"texture": None}, "choose one of"),
    ({"model": "nobody"}, "choose one of"),
    ({"model": "../../etc"}, "choose one of"),
    ({"model": "/etc/passwd"}, "choose one of"),
    ({"model": "somebody/something"}, "choose one of"),  # this page takes no Hub ids
]
NO_BORDER = [
    ({"left": -1}, "0 to 100"),
    ({"left": 101}, "0 to 100"),
    ({"top": 10**9}, "0 to 100"),
    ({"right": None}, "empty"),
    ({"bottom": "wide"}, "percent"),
    ({"left": 0}, "All four sides"),
    ({"seam": "glue"}, "choose one of"),
    ({"texture": "wool"}, "choose one of"),
    ({"model": "nobody"}, "choose one of"),
]


def rows():
    """(endpoint, data with names of files in place of uploads, words of the refusal)."""
    for name in UNREADABLE:
        yield BOTH, [name, MASK, *SETTINGS.values()], NOT_READ
        yield LARGER, [name, *BORDERS.values(), *LAST.values()], NOT_READ
    for name in ("text.png", "cut.png", "bomb.png", "empty.jpg", "some.pdf"):
        yield BOTH, [PHOTO, name, *SETTINGS.values()], NOT_READ
        painted = {"background": PHOTO, "layers": [name], "composite": PHOTO}
        yield PAINTED, [painted, *SETTINGS.values()], NOT_READ
        painted = {"background": name, "layers": [MASK], "composite": None}
        yield PAINTED, [painted, *SETTINGS.values()], NOT_READ
    for change, words in NO_SETTING:
        yield BOTH, [PHOTO, MASK, *(SETTINGS | change).values()], words
    for change, words in NO_BORDER:
        yield LARGER, [PHOTO, *(BORDERS | LAST | change).values()], words
    for photo, mask, words in (
        (None, MASK, "upload a photo"),
        (PHOTO, None, "no mask"),
        (PHOTO, "black mask", "no white"),
        (PHOTO, "other shape", "mask"),
    ):
        yield BOTH, [photo, mask, *SETTINGS.values()], words
    yield LARGER, [None, *BORDERS.values(), *LAST.values()], "upload a photo"
    for painted in ({"background": None, "layers": [], "composite": None}, None):
        yield PAINTED, [painted, *SETTINGS.values()], "upload a photo"


ROWS = list(rows())


def files():
    hole = np.zeros(SIZE[::-1], np.uint8)
    hole[5:15, 5:20] = 255
    return UNREADABLE | {
        PHOTO: picture(),
        MASK: png(hole),
        "black mask": png(hole * 0),
        "other shape": png(np.full((50, 10), 255, np.uint8)),
    }


@pytest.fixture(scope="module")
def uploads(address):
    return {name: upload(address, data, name.replace(" ", "_")) for name, data in files().items()}


def sent(value, uploads):
    """The data with uploads' paths in place of names."""
    if isinstance(value, str) and value in uploads:
        return {"path": uploads[value], "meta": {"_type": "gradio.FileData"}}
    if isinstance(value, dict):
        return {key: sent(one, uploads) for key, one in value.items()}
    return [sent(one, uploads) for one in value] if isinstance(value, list) else value


def refusal(address, endpoint, data):
    """What the server answers instead of a result."""
    url, kind = f"{address}/gradio_api/call/{endpoint}", {"Content-Type": "application/json"}
    body = json.dumps({"data": data}).encode()
    number = asked(urllib.request.Request(url, body, kind))["event_id"]
    event = ""
    with urllib.request.urlopen(f"{url}/{number}", timeout=120) as stream:
        for line in stream:
            name, _, value = line.decode().strip().partition(": ")
            event = value if name == "event" else event
            if name == "data" and event in ("complete", "error"):
                assert event == "error", value[:200]
                told = json.loads(value)
                return told["error"] if isinstance(told, dict) else str(told)
    raise AssertionError("no answer")


def test_the_table_is_as_long_as_said():
    assert len(ROWS) >= 90


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_what_cannot_be_is_refused_with_a_sentence_before_any_work(address, uploads, number):
    import re

    endpoint, data, words = ROWS[number]
    before = len(Recorded.calls)
    told = refusal(address, endpoint, sent(data, uploads))
    assert re.search(words, told), (ROWS[number], told)
    assert "Traceback" not in told and "/tmp" not in told and "Error(" not in told
    assert len(told) < 500
    assert len(Recorded.calls) == before


@pytest.mark.parametrize(
    "path, body, status",
    [
        ("call/nowhere", b'{"data": []}', (404, 422, 500)),
        ("call/inpaint", b"{no json", (422,)),
        ("call/inpaint", b"[]", (422,)),
        ("call/inpaint", b"{}", (422,)),
        ("upload", b"", (400, 422)),
        ("file=/etc/passwd", None, (403, 404)),
        ("file=../../etc/passwd", None, (403, 404)),
    ],
)
def test_requests_that_are_none_get_a_status_of_their_own(address, path, body, status):
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/gradio_api/{path}", body, kind)
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=60)
    assert error.value.code in status
    assert "Traceback" not in error.value.read().decode()


def test_files_that_nobody_uploaded_are_not_read(address):
    secret = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    told = refusal(address, BOTH, [secret, secret, *SETTINGS.values()])
    with open("/etc/hostname", encoding="utf-8") as file:
        assert file.read().strip() not in told


def test_after_all_of_them_the_page_still_fills(address, uploads):
    assert one_request(address, 0, np.random.default_rng(0), False) == "right"
