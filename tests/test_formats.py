"""Picture files: every value and note survives, or the file is said to hold less."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from inpaint_hub.formats import (
    HOLDS,
    not_held,
    open_picture,
    pixels_in,
    save_picture,
    target_for,
)
from inpaint_hub.images import UnreadableImageError, read_images, read_masks

SIZE = (9, 6)  # width, height
NOTHING = np.zeros(SIZE[::-1], bool)


def noise(*shape, top=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, top, shape, dtype=dtype)


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(values, color_type, depth, interlaced=False, chunks=()):
    """An encoded PNG of big-endian `values` [H,W,C], by the specification and nothing else."""
    height, width = values.shape[:2]

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced))
    passes = [values]
    if interlaced:  # Adam7
        starts = [
            (0, 0, 8, 8),
            (0, 4, 8, 8),
            (4, 0, 8, 4),
            (0, 2, 4, 4),
            (2, 0, 4, 2),
            (0, 1, 2, 2),
        ]
        passes = [values[y::dy, x::dx] for y, x, dy, dx in [*starts, (1, 0, 2, 1)]]
    rows = b"".join(
        b"\0" + row.tobytes() for part in passes if part.size for row in np.ascontiguousarray(part)
    )
    body = b"".join(chunk(name, data) for name, data in chunks)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + end


def tiff16(values, order="<", photometric=2, extra=None):
    """An encoded TIFF of uint16 [H,W,3 or 4], uncompressed, in either byte order."""
    height, width, channels = values.shape
    data = values.astype(f"{order}u2").tobytes()
    depths = struct.pack(f"{order}{channels}H", *[16] * channels)
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, None), (259, 3, 1, 1)]
    tags += [(262, 3, 1, photometric), (273, 4, 1, None), (277, 3, 1, channels)]
    tags += [(278, 3, 1, height), (279, 4, 1, len(data))]
    tags += [(338, 3, 1, extra)] if extra is not None else []
    start = 8 + 2 + 12 * len(tags) + 4
    made = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    made += struct.pack(f"{order}H", len(tags))
    for tag, kind, count, value in tags:
        value = {258: start, 273: start + len(depths)}.get(tag, value)
        packed = struct.pack(f"{order}{'H' if kind == 3 and count == 1 else 'I'}", value)
        made += struct.pack(f"{order}HHI", tag, kind, count) + packed.ljust(4, b"\0")
    return made + b"\0\0\0\0" + depths + data


DEEP = noise(6, 9, 4, top=65536, dtype=np.uint16)
DEEP_FILES = {
    "png rgb": (png(DEEP[..., :3].astype(">u2"), 2, 16), DEEP[..., :3]),
    "png rgb interlaced": (png(DEEP[..., :3].astype(">u2"), 2, 16, True), DEEP[..., :3]),
    "png rgba": (png(DEEP.astype(">u2"), 6, 16), DEEP),
    "png gray and alpha": (png(DEEP[..., :2].astype(">u2"), 4, 16), DEEP[..., :2]),
    "png gray": (png(DEEP[..., :1].astype(">u2"), 0, 16), DEEP[..., :1]),
    "tiff rgb": (tiff16(DEEP[..., :3]), DEEP[..., :3]),
    "tiff rgb big-endian": (tiff16(DEEP[..., :3], ">"), DEEP[..., :3]),
    "tiff rgba": (tiff16(DEEP, extra=2), DEEP),
}


@pytest.mark.parametrize("kind", sorted(DEEP_FILES))
def test_16_bits_a_channel_are_read_and_written_to_the_bit(kind, tmp_path):
    data, expected = DEEP_FILES[kind]
    picture = open_picture(data)
    assert picture.native.dtype == np.uint16 and np.array_equal(picture.native, expected)
    assert picture.white == 65535 and picture.notes == ()
    hole = NOTHING.copy()
    hole[2:4, 3:6] = True
    filled = picture.fill(np.full((6, 9, 3), 0.5, np.float32), hole)
    path = target_for(tmp_path / "out.png", filled)
    save_picture(filled, path, picture.metadata)
    again = open_picture(path)
    assert np.array_equal(again.native[~hole], expected[~hole])
    assert (again.native[hole][:, 0] == 32768).all()


def test_the_networks_see_deep_pictures_rounded_to_8_bits():
    picture = open_picture(DEEP_FILES["png rgb"][0])
    assert np.array_equal(picture.pixels, np.rint(DEEP[..., :3] / 257.0).astype(np.uint8))


def test_a_deep_picture_with_a_transparent_color_keeps_both(tmp_path):
    values = DEEP[..., :3].copy()
    values[0, 0] = (1, 2, 40000)
    key = struct.pack(">HHH", 1, 2, 40000)
    picture = open_picture(png(values.astype(">u2"), 2, 16, chunks=[(b"tRNS", key)]))
    assert np.array_equal(picture.native, values)
    assert picture.pixels[0, 0].tolist() == [255, 255, 255]
    save_picture(picture.fill(None, NOTHING), tmp_path / "out.png", picture.metadata)
    assert Image.open(tmp_path / "out.png").info["transparency"] == (1, 2, 40000)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "16-bit PNG"])
def test_files_are_upright_and_say_so(form, orientation, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "camera"
    if form == "16-bit PNG":
        chunk = (b"eXIf", exif.tobytes()[6:])
        data = png(DEEP[..., :3].astype(">u2"), 2, 16, chunks=[chunk])
    else:
        data = encoded(Image.fromarray(noise(6, 9, 3)), form, exif=exif)
    picture = open_picture(data)
    stored = Image.open(io.BytesIO(data))
    assert np.array_equal(picture.pixels.shape, np.array(ImageOps.exif_transpose(stored)).shape)
    if form != "16-bit PNG":
        assert np.array_equal(picture.pixels, np.array(ImageOps.exif_transpose(stored)))
    else:
        tops = np.array(ImageOps.exif_transpose(stored))  # the first byte of each value
        assert np.array_equal(picture.native >> 8, tops)
    assert picture.orientation == orientation
    hole = np.zeros(picture.size[::-1], bool)
    save_picture(picture.fill(None, hole), tmp_path / "out.png", picture.metadata)
    kept = Image.open(tmp_path / "out.png").getexif()
    assert kept[ExifTags.Base.Orientation] == 1 and kept[ExifTags.Base.Make] == "camera"


MODES = {
    "1": Image.fromarray(noise(6, 9, top=2).astype(bool)),
    "L": Image.fromarray(noise(6, 9)),
    "LA": Image.fromarray(noise(6, 9, 2), "LA"),
    "RGB": Image.fromarray(noise(6, 9, 3)),
    "RGBA": Image.fromarray(noise(6, 9, 4), "RGBA"),
    "CMYK": Image.frombytes("CMYK", SIZE, noise(6, 9, 4).tobytes()),
    "LAB": Image.frombytes("LAB", SIZE, noise(6, 9, 3).tobytes()),
    "I;16": Image.fromarray(noise(6, 9, top=65536, dtype=np.uint16)),
    "I": Image.fromarray(noise(6, 9, top=2**31 - 1, dtype=np.int32)),
    "F": Image.fromarray(np.random.default_rng(0).random((6, 9), np.float32)),
}


@pytest.mark.parametrize("ending", sorted(HOLDS))
@pytest.mark.parametrize("mode", sorted(MODES))
def test_a_result_goes_where_its_values_come_back(mode, ending, tmp_path):
    result = MODES[mode]
    path = target_for(tmp_path / f"out{ending}", result)
    assert (path.suffix == ending) == (mode in HOLDS[ending])
    save_picture(result, path, {})
    with Image.open(path) as again:
        assert again.mode == mode and np.array_equal(np.array(again), np.array(result))


def test_32_bit_values_become_16_bit_ones_only_where_white_stays_white(tmp_path):
    for top, ending in ((255, ".tif"), (65535, ".png"), (65536, ".tif"), (-1, ".tif")):
        values = np.array([[0, top]], np.int32)
        path = target_for(tmp_path / "out.png", Image.fromarray(values))
        assert path.suffix == ending
        save_picture(Image.fromarray(values), path, {})
        assert np.array(Image.open(path)).tolist() == values.tolist()


def described_png():
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "A hill")
    text.add_itxt("Author", "Zoë", "en", "Author")
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="1"/>')
    text.add(b"gAMA", struct.pack(">I", 45455))
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"pnginfo": text, "exif": exif, "icc_profile": profile, "dpi": (300, 300)}
    return encoded(Image.fromarray(noise(6, 9, 3)), **options), profile


def test_what_describes_a_picture_is_kept(tmp_path):
    data, profile = described_png()
    picture = open_picture(data)
    for ending in (".png", ".tif"):
        path = tmp_path / f"out{ending}"
        save_picture(picture.fill(None, NOTHING), path, picture.metadata)
        with Image.open(path) as kept:
            kept.load()
            assert kept.info["icc_profile"] == profile
            assert [round(float(dpi)) for dpi in kept.info["dpi"]] == [300, 300]
            exif = kept.getexif()
            assert exif[ExifTags.Base.Make] == "camera"
            taken = exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal]
            assert taken == "2024:05:06 07:08:09"
            assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
            assert b"tiff:Orientation" in kept.info["xmp"]
            if ending == ".png":
                assert kept.text["Title"] == "A hill" and kept.text["Author"] == "Zoë"
                assert kept.text["Author"].lang == "en"
                assert kept.info["gamma"] == pytest.approx(0.45455)
    assert not_held("out.png", picture.metadata) == []
    assert not_held("out.tif", picture.metadata) == ["gamma"]
    assert not_held("out.bmp", picture.metadata) == ["exif", "gamma", "icc_profile", "text", "xmp"]


def test_a_jpegs_exif_comment_and_density_are_kept_but_not_its_thumbnail(tmp_path):
    thumbnail = encoded(Image.new("RGB", (8, 8), "red"), "JPEG")
    make = struct.pack("<HHHI4s", 1, ExifTags.Base.Make, 2, 4, b"cam\0")
    entries = [(259, 3, 1, 6), (513, 4, 1, 8 + 18 + 42), (514, 4, 1, len(thumbnail))]
    second = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *e) for e in entries)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + make + struct.pack("<I", 26)
    exif += second + struct.pack("<I", 0) + thumbnail
    data = encoded(
        Image.fromarray(noise(6, 9, 3)), "JPEG", exif=exif, comment="hello", dpi=(72, 72)
    )
    assert Image.open(io.BytesIO(data)).getexif().get_ifd(ExifTags.IFD.IFD1)
    picture = open_picture(data)
    save_picture(picture.fill(None, NOTHING), tmp_path / "out.png", picture.metadata)
    with Image.open(tmp_path / "out.png") as kept:
        assert kept.getexif()[ExifTags.Base.Make] == "cam"
        assert kept.text["Comment"] == "hello"
        assert round(kept.info["dpi"][0]) == 72
        assert not kept.getexif().get_ifd(ExifTags.IFD.IFD1)


def test_a_profile_stays_only_on_its_own_color_space():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    cmyk, gray = srgb[:16] + b"CMYK" + srgb[20:], srgb[:16] + b"GRAY" + srgb[20:]
    for mode, profile, kept in (
        ("RGB", srgb, True),
        ("RGB", cmyk, False),
        ("CMYK", cmyk, True),
        ("CMYK", srgb, False),
        ("L", gray, True),
        ("L", srgb, False),
        ("I;16", gray, True),
        ("RGB", gray, False),
        ("P", srgb, True),
    ):
        source = MODES[mode] if mode != "P" else MODES["RGB"].quantize(8)
        source = source.copy()
        source.info["icc_profile"] = profile
        picture = read_images(source)[0]
        assert ("icc_profile" in picture.fill(None, NOTHING).info) == kept, (mode, kept)
        assert ("icc_profile" in picture.metadata) == kept
        if mode == "CMYK":  # resized, it is RGB
            assert "icc_profile" not in picture.resized((4, 3)).fill(None, NOTHING[:3, :4]).info


def test_resized_pictures_keep_their_profile():
    source = MODES["RGB"].copy()
    source.info["icc_profile"] = b"profile"
    resized = read_images(source)[0].resized((4, 3))
    assert resized.size == (4, 3)
    assert resized.fill(None, NOTHING[:3, :4]).info["icc_profile"] == b"profile"


@pytest.mark.filterwarnings("ignore")
def test_exif_that_cannot_be_read_costs_only_itself():
    whole = Image.Exif()
    whole[ExifTags.Base.Orientation] = 6
    broken = [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"", b"x"]
    broken += [whole.tobytes()[:n] for n in range(6, len(whole.tobytes()))]
    image = Image.fromarray(noise(6, 9, 3))
    for form in ("PNG", "JPEG", "WEBP"):
        clean = open_picture(encoded(image, form)).pixels
        for exif in broken:
            picture = open_picture(encoded(image, form, exif=exif))
            assert sorted(picture.size) == sorted(SIZE)
            if picture.notes:
                assert picture.notes == ("its EXIF cannot be read and is left out",)
            if picture.orientation == 1:
                assert np.array_equal(picture.pixels, clean)


def test_frames_and_depth_that_are_not_read_are_said():
    frames = [Image.fromarray(noise(6, 9)) for _ in range(3)]
    frames[1].putpixel((0, 0), 7), frames[2].putpixel((1, 1), 9)
    for form in ("GIF", "TIFF", "WEBP", "PNG"):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        assert "only the first of its 3 frames" in open_picture(data).notes[0]
    wide = b"P6\n2 1\n1023\n" + struct.pack(">6H", 0, 1, 2, 1023, 5, 6)
    assert open_picture(wide).notes == ("10 bits a channel are stored, of which 8 are read",)
    assert open_picture(encoded(frames[0])).notes == ()
    cmyk = tiff16(DEEP, photometric=5)
    assert open_picture(cmyk).notes == ("16 bits a channel are stored, of which 8 are read",)


def test_a_deep_file_opened_by_pillow_is_warned_of():
    with pytest.warns(UserWarning, match="16 bits a channel.*open_picture"):
        read_images(Image.open(io.BytesIO(DEEP_FILES["png rgb"][0])))


def bomb(width, height):
    """A PNG of 1-bit pixels with that header, and no pixel."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    check = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + chunk + check + b"\0\0\0\0IDAT"


WHOLE = {
    form: encoded(Image.fromarray(noise(60, 90, 3)), form)
    for form in ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "AVIF", "JPEG2000", "DDS", "TGA")
} | {"PPM": encoded(Image.fromarray(noise(60, 90, 3)), "PPM")}
UNREADABLE = {
    "text": b"not a picture",
    "empty": b"",
    "14000x14000": bomb(14000, 14000),
    "20000x20000": bomb(20000, 20000),
    "ppm without a size": b"P6\nx y\n255\n",
    "ppm without a depth": b"P6\n2 2\n0\n\0",
    "ppm of letters": b"P3\n2 2\n255\na b c",
    "dds of an unknown kind": b"DDS " + struct.pack("<I", 124) + b"\x07" * 120,
    "bmp of 7 bits": WHOLE["BMP"][:28] + b"\x07\0" + WHOLE["BMP"][30:],
    "avif header": WHOLE["AVIF"][:40] + b"\0" * 40,
    "jpeg 2000 header": WHOLE["JPEG2000"][:30] + b"\0" * 30,
    **{f"half a {form}": data[: len(data) // 2] for form, data in WHOLE.items() if form != "TGA"},
    **{f"100 bytes of a {form}": data[:100] for form, data in WHOLE.items()},
}


@pytest.mark.filterwarnings("ignore")  # Pillow's, about what it found before it gave up
@pytest.mark.parametrize("kind", sorted(UNREADABLE))
def test_whatever_cannot_be_read_is_one_kind_of_error_that_says_what_to_do(kind):
    with pytest.raises(UnreadableImageError, match="expected"):
        open_picture(UNREADABLE[kind])
    assert pixels_in(io.BytesIO(UNREADABLE[kind])) >= 0


@pytest.mark.filterwarnings("ignore")
def test_a_picture_is_read_or_refused_by_one_error_whatever_byte_is_wrong():
    rng = np.random.default_rng(0)
    for form, data in WHOLE.items():
        for _ in range(60):
            damaged = bytearray(data)
            for place in rng.integers(0, min(len(data), 400), rng.integers(1, 6)):
                damaged[place] = rng.integers(256)
            try:
                open_picture(bytes(damaged))
            except UnreadableImageError as error:
                assert str(error), form


def test_a_missing_file_and_no_picture_at_all_are_the_same_error(tmp_path):
    for source in (tmp_path / "nowhere.png", tmp_path, io.BytesIO()):
        with pytest.raises(UnreadableImageError):
            open_picture(source)


def stroke(color, background, mode="RGB", size=SIZE):
    image = Image.new(mode, size, background)
    image.paste(color, (2, 1, 7, 4))
    return image


STROKE = np.zeros(SIZE[::-1], bool)
STROKE[1:4, 2:7] = True
VOC = Image.new("P", SIZE)
VOC.putpalette([0, 0, 0, 128, 0, 0] + [0, 128, 0] * 14)
VOC.paste(1, (2, 1, 7, 4))
TWO_VALUED = {
    "red on black": stroke((255, 0, 0), (0, 0, 0)),
    "blue on black": stroke((0, 0, 255), (0, 0, 0)),
    "magenta on black": stroke((255, 0, 255), (0, 0, 0)),
    "red, transparent around": stroke((255, 0, 0, 255), (0, 0, 0, 0), "RGBA"),
    "a palette of classes": VOC,
    "label 2": stroke(2, 0, "L"),
    "label 15": stroke(15, 0, "L"),
    "gray 127": stroke(127, 0, "L"),
    "gray 100 on gray 30": stroke(100, 30, "L"),
    "white on light gray": stroke(255, 200, "L"),
    "alpha 120": stroke((9, 9, 9, 120), (9, 9, 9, 0), "RGBA"),
    "16 bit 300": stroke(300, 0, "I"),
    "cmyk red": stroke((0, 255, 255, 0), (0, 0, 0, 255), "CMYK"),
}


@pytest.mark.parametrize("kind", sorted(TWO_VALUED))
def test_a_mask_of_two_values_is_taken_by_them(kind):
    pictures = read_images(noise(6, 9, 3))
    (hole,) = read_masks(TWO_VALUED[kind], pictures)
    assert np.array_equal(hole, STROKE)
    (hole,) = read_masks(TWO_VALUED[kind], pictures, invert=True)
    assert np.array_equal(hole, ~STROKE)
    (hole,) = read_masks(open_picture(encoded(TWO_VALUED[kind], "TIFF")), pictures)
    assert np.array_equal(hole, STROKE)


def test_masks_of_one_value_are_all_or_nothing():
    pictures = read_images(noise(6, 9, 3))
    for value, full in ((0, False), (1, True), (127, False), (128, True), (255, True)):
        (hole,) = read_masks(Image.new("L", SIZE, value), pictures)
        assert hole.all() == hole.any() == full, value


@pytest.mark.parametrize("scale", [10, 3.7, 1.3, 0.31, 0.1])
def test_thin_lines_survive_another_size(scale):
    size = (120, 80)
    pictures = read_images(np.zeros((*size[::-1], 3), np.uint8))
    width, height = round(size[0] * scale), round(size[1] * scale)
    for row, column in ((height // 3, None), (None, width // 7), (height // 2, width // 2)):
        mask = np.zeros((height, width), bool)
        if column is None:
            mask[row] = True
        elif row is None:
            mask[:, column] = True
        else:
            mask[row, column] = True
        (hole,) = read_masks(mask, pictures)
        assert hole.shape == size[::-1]
        assert hole.all(axis=1).any() if column is None else True
        assert hole.all(axis=0).any() if row is None else True
        assert hole.any() and hole.mean() <= 2 / min(size) + 3 / min(width, height)


def test_a_shrunk_mask_covers_all_that_was_painted():
    mask = np.random.default_rng(0).random((53, 61)) < 0.02
    (hole,) = read_masks(mask, read_images(np.zeros((26, 30, 3), np.uint8)))
    rows, columns = np.nonzero(mask)
    down, across = (2 * rows + 1) * 26, (2 * columns + 1) * 30
    last = hole[down // 106, across // 122]  # where a pixel's center falls; row 26's on a border
    assert (last | hole[(down - 1) // 106, across // 122]).all()


@pytest.mark.parametrize("size", [(6, 9), (18, 6), (9, 9), (10, 3), (90, 61)])
def test_a_mask_of_another_shape_is_refused(size):
    pictures = read_images(np.zeros((60, 90, 3), np.uint8))
    given = (size[0] * 10, size[1] * 10) if size != (90, 61) else (90, 80)
    with pytest.raises(ValueError, match=f"{given[0]}x{given[1]} px for a picture of 90x60 px"):
        read_masks(Image.new("L", given), pictures)


@pytest.mark.parametrize("size", [(90, 60), (45, 30), (900, 600), (31, 21), (31, 20), (1000, 667)])
def test_a_mask_of_the_same_shape_is_taken(size):
    (hole,) = read_masks(Image.new("1", size, 1), read_images(np.zeros((60, 90, 3), np.uint8)))
    assert hole.shape == (60, 90) and hole.all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("scale", [1, 2])
def test_a_mask_of_the_raster_before_it_was_turned_is_turned_along(orientation, scale):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = encoded(Image.fromarray(noise(6, 9, 3)), exif=exif)
    mask = np.zeros((6, 9), bool)
    mask[0, :2] = True
    shown = Image.fromarray(mask).resize((9 * scale, 6 * scale), Image.Resampling.NEAREST)
    for photo in (open_picture(stored), Image.open(io.BytesIO(stored))):
        (hole,) = read_masks(shown, read_images(photo))
        marked = Image.fromarray(mask.astype(np.uint8))
        marked.getexif()[ExifTags.Base.Orientation] = orientation if orientation > 4 else 1
        assert np.array_equal(hole, np.array(ImageOps.exif_transpose(marked)) > 0)


@pytest.mark.parametrize(
    "mask, words",
    [
        (Image.new("L", SIZE), "9x6 px with the values 0"),
        (Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9)), "values from 0 to 53"),
        (stroke((255, 0, 0), (0, 0, 9)), r"the colors \(0, 0, 9\), \(255, 0, 0\)"),
        (MODES["F"], "values from 0."),
    ],
)
def test_what_a_mask_holds_is_said_in_words(mask, words):
    assert re.search(words, read_images(mask)[0].described())
