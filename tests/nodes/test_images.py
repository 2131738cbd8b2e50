from __future__ import annotations

import os
import random
import re
import socket
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.nodes.images import (
    check_image,
    check_whole,
    describe_source,
    image_bytes,
    load_image,
)

from ..support.patience import within

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE, BLACK, PALE = (255, 255, 255), (0, 0, 0), (255, 127, 127)


def encoded(image: Image.Image, format: str = "PNG", **settings: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=format, **settings)
    return buffer.getvalue()


def left_red_right_blue(width: int = 40, height: int = 20) -> Image.Image:
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header is right and whose pixels are missing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels


@pytest.fixture(scope="module")
def jpeg_of_100_megapixels() -> bytes:
    return encoded(Image.new("L", (10_000, 10_000), 128), "JPEG", quality=30)


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "BytesIO", "PIL"])
def test_every_kind_of_source_gives_the_same_picture(kind, tmp_path):
    data = encoded(left_red_right_blue())
    path = tmp_path / "two colours.png"
    path.write_bytes(data)
    source = {
        "path": path,
        "str": str(path),
        "bytes": data,
        "BytesIO": BytesIO(data),
        "PIL": left_red_right_blue(),
    }[kind]

    picture = load_image(source)

    assert (picture.mode, picture.size) == ("RGB", (40, 20))
    assert picture.getpixel((0, 0)) == RED
    assert picture.getpixel((39, 19)) == BLUE


def test_a_buffer_read_to_its_end_still_gives_its_picture():
    buffer = BytesIO(encoded(left_red_right_blue()))
    buffer.read()
    assert load_image(buffer).size == (40, 20)


def test_pil_source_is_not_changed():
    source = left_red_right_blue()
    shrunk = load_image(source, max_side=10)
    assert shrunk.size == (10, 5)
    assert source.size == (40, 20)
    same_size = load_image(source)
    same_size.putpixel((0, 0), GREEN)
    assert source.getpixel((0, 0)) == RED


@pytest.mark.parametrize(("max_side", "size"), [(20, (20, 10)), (400, (40, 20))])
def test_longest_side_is_bounded_and_never_enlarged(max_side, size):
    assert load_image(left_red_right_blue(), max_side=max_side).size == size


@pytest.mark.parametrize(
    "format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"], ids=str.lower
)
def test_formats_are_read(format):
    red, green, blue = load_image(
        encoded(Image.new("RGB", (16, 16), RED), format)
    ).getpixel((8, 8))
    assert red > 250
    assert green < 5
    assert blue < 5


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no/such.jpg", r"'no/such\.jpg'.*No such file"),
        (Path(__file__).parent, "Is a directory"),
        ("https://example.com/cat.jpg", "URLs are not fetched"),
        *((odd, re.escape(repr(odd))) for odd in ("", "a\0b.png", None, 3)),
        # Formats whose readers run programs are not read.
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known picture form"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(source, said):
    with pytest.raises(ImageUnreadable, match=said):
        load_image(source)


@pytest.mark.parametrize("read", [load_image, check_image])
def test_file_without_a_picture_is_refused_by_name(read, tmp_path):
    empty, notes = tmp_path / "empty.png", tmp_path / "notes.png"
    empty.touch()
    notes.write_text("not a picture")
    for source, said in (
        (empty, r"empty\.png.*empty file"),
        (notes, r"notes\.png.*b'not a pi'"),
        (b"", "zero bytes"),
        (BytesIO(), "zero bytes"),
    ):
        with pytest.raises(ImageUnreadable, match=said):
            read(source)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF"], ids=str.lower)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_file_is_refused(format, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    with pytest.raises(ImageUnreadable, match="Cannot read the picture"):
        load_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_damaged_bytes_give_a_picture_or_our_error(format):
    whole = encoded(left_red_right_blue(), format)
    rng = random.Random(7)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            assert load_image(bytes(data), max_side=32).mode == "RGB"
        except ImageUnreadable:
            continue


@pytest.mark.parametrize("side", [10_000, 20_000])
@pytest.mark.parametrize("action", ["error", "default"])
def test_png_of_100_or_400_megapixels_is_refused_before_it_is_decoded(side, action):
    with warnings.catch_warnings(record=action == "default") as caught:
        warnings.simplefilter(action)
        with pytest.raises(ImageUnreadable, match=f"{side} x {side} = {side**2:,}"):
            load_image(png_that_claims(side, side))
    assert not caught


@pytest.mark.parametrize("action", ["error", "default"])
def test_jpeg_of_100_megapixels_is_shrunk_while_it_is_decoded(
    action, jpeg_of_100_megapixels
):
    with warnings.catch_warnings(record=action == "default") as caught:
        warnings.simplefilter(action)
        picture = load_image(jpeg_of_100_megapixels, max_side=512)
    assert not caught
    assert picture.size == (512, 512)
    assert abs(picture.getpixel((5, 5))[0] - 128) <= 2


def test_jpeg_of_100_megapixels_in_full_size_is_refused(jpeg_of_100_megapixels):
    with pytest.raises(ImageUnreadable, match=r"100,000,000 pixels.*raise max_pixels"):
        load_image(jpeg_of_100_megapixels)


def test_max_pixels_is_the_callers_to_choose():
    load_image(left_red_right_blue(), max_pixels=800)
    with pytest.raises(ImageUnreadable, match="40 x 20 = 800 pixels; at most 799"):
        load_image(left_red_right_blue(), max_pixels=799)


def test_large_pictures_do_not_warn_from_threads(jpeg_of_100_megapixels):
    # In a fresh process: its standard error shows what a user would see.
    code = (
        "import sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from llama_index_mmrag.nodes.images import load_image\n"
        "data = sys.stdin.buffer.read()\n"
        "with ThreadPoolExecutor(2) as threads:\n"
        "    read = lambda _: load_image(data, max_side=64).size\n"
        "    sys.exit(list(threads.map(read, [1, 2])) != [(64, 64)] * 2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::RuntimeWarning", "-c", code],
        input=jpeg_of_100_megapixels,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"Decompression" in done.stderr) == (0, False), done.stderr


def test_cmyk_jpeg_keeps_its_colour():
    cmyk = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    red, green, blue = load_image(encoded(cmyk, "JPEG", quality=95)).getpixel((9, 9))
    assert red > 230
    assert max(green, blue) < 30


def palette_of_two() -> Image.Image:
    """Return a picture by palette: red, the first entry, and one blue pixel."""
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([*RED, *BLUE])
    picture.putpixel((7, 7), 1)
    return picture


def half_black(mode: str) -> Image.Image:
    """Return a picture whose left half is transparent."""
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    picture.paste(Image.new("RGBA", (4, 8), (0, 0, 0, 255)).convert(mode), (4, 0))
    return picture


@pytest.mark.parametrize(
    ("picture", "settings", "first", "last"),
    [
        (palette_of_two(), {}, RED, BLUE),
        (palette_of_two(), {"transparency": 0}, WHITE, BLUE),
        (palette_of_two(), {"transparency": b"\x00\xff"}, WHITE, BLUE),
        (half_black("RGBA"), {}, WHITE, BLACK),
        (half_black("LA"), {}, WHITE, BLACK),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 128)), {}, PALE, PALE),
        (left_red_right_blue(), {"transparency": RED}, WHITE, BLUE),
        (Image.new("1", (8, 8), 1), {}, WHITE, WHITE),
        (Image.new("RGB", (1, 1), GREEN), {}, GREEN, GREEN),
    ],
    ids=[
        "palette",
        "transparent entry by index",
        "transparent entry by bytes",
        "RGBA",
        "LA",
        "half transparent is half white",
        "transparent colour of an RGB PNG",
        "black and white",
        "one pixel",
    ],
)
def test_colours_are_kept_and_transparency_is_laid_on_white(
    picture, settings, first, last
):
    seen = load_image(encoded(picture, **settings))
    assert seen.getpixel((0, 0)) == first
    assert seen.getpixel((seen.width - 1, seen.height - 1)) == last


def test_16_bits_are_scaled_not_clipped():
    ramp = np.array([[0, 257, 128 * 257, 65_535]], dtype=np.uint16)
    picture = load_image(encoded(Image.fromarray(ramp)))
    assert [picture.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_animation_gives_its_first_frame(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = encoded(
        frames[0], format, save_all=True, append_images=frames[1:], duration=50
    )
    red, green, _ = load_image(data).getpixel((8, 8))
    assert red > 250
    assert green < 5


@pytest.mark.parametrize(
    ("orientation", "size", "red_at", "blue_at"),
    [
        (1, (40, 20), (2, 10), (37, 10)),
        (2, (40, 20), (37, 10), (2, 10)),
        (3, (40, 20), (37, 10), (2, 10)),
        (4, (40, 20), (2, 10), (37, 10)),
        (5, (20, 40), (10, 2), (10, 37)),
        (6, (20, 40), (10, 2), (10, 37)),
        (7, (20, 40), (10, 37), (10, 2)),
        (8, (20, 40), (10, 37), (10, 2)),
    ],
)
def test_exif_orientation_is_applied(orientation, size, red_at, blue_at):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(left_red_right_blue(), "JPEG", quality=95, exif=exif)
    picture = load_image(data)
    assert picture.size == size
    assert picture.getpixel(red_at)[0] > 200
    assert picture.getpixel(blue_at)[2] > 200


def test_orientation_survives_decoding_at_reduced_size():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(left_red_right_blue(800, 400), "JPEG", exif=exif)
    assert load_image(data, max_side=100).size == (50, 100)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "rest",
    [b" this is no TIFF header", b"II*\x00\x08\x00\x00\x00\xff\xff"],
    ids=["garbage", "truncated"],
)
def test_broken_exif_does_not_cost_the_picture(rest):
    data = encoded(left_red_right_blue(), "JPEG", exif=b"Exif\x00\x00" + rest)
    assert load_image(data).size == (40, 20)


def test_threads_reading_one_file_get_the_same_picture(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(left_red_right_blue()))
    with ThreadPoolExecutor(8) as threads:
        pictures = list(threads.map(load_image, [path] * 32))
    assert {picture.tobytes() for picture in pictures} == {
        left_red_right_blue().tobytes()
    }


def test_bytes_of_a_file_are_its_own(tmp_path):
    data = encoded(left_red_right_blue(), "JPEG")
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert image_bytes(path) == data
    assert image_bytes(data) == data
    assert image_bytes(BytesIO(data)) == data
    as_png = image_bytes(left_red_right_blue())
    assert load_image(as_png).tobytes() == left_red_right_blue().tobytes()


def test_sources_are_described_for_messages():
    assert describe_source("a/b.png") == "'a/b.png'"
    assert describe_source(Path("b.png")) == "'b.png'"
    assert describe_source(b"123") == "<3 bytes>"
    assert describe_source(BytesIO(b"1234")) == "<4 bytes>"
    assert describe_source(Image.new("L", (3, 2))) == "<3x2 PIL image>"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_threads_reading_one_open_pil_image_get_the_same_picture(format):
    # Opened, not yet decoded: the first to ask decodes, from one position in one file.
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    expected = load_image(data).tobytes()
    for _ in range(5):
        opened = Image.open(BytesIO(data))
        with ThreadPoolExecutor(6) as threads:
            pictures = list(threads.map(load_image, [opened] * 6))
        assert [picture.tobytes() == expected for picture in pictures] == [True] * 6


def progressive(n_scans: int) -> bytes:
    """Return a JPEG whose last scan is repeated until there are so many."""
    whole = encoded(left_red_right_blue(), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    more = n_scans - whole.count(b"\xff\xda")
    return whole[:last] + whole[last:-2] * more + whole[last:]


@pytest.mark.parametrize(
    "read", [load_image, check_image, lambda b: check_whole(b, name="it")]
)
def test_jpeg_of_more_than_100_scans_is_refused(read):
    read(progressive(100))
    with within(1), pytest.raises(ImageUnreadable, match="JPEG of more than 100 scans"):
        read(progressive(101))


def test_scans_are_counted_in_the_picture_alone():
    # A thumbnail in its EXIF block, a film behind its end.
    scan = b"\xff\xda"
    exif = b"Exif\x00\x00" + scan * 1000
    data = encoded(left_red_right_blue(), "JPEG", exif=exif) + scan * 1000
    assert load_image(data).size == (40, 20)


@pytest.fixture(
    params=["pipe", "socket", "device", "link to a pipe", "link to an open pipe"]
)
def no_file(request, tmp_path) -> Iterator[Path]:
    """Yield a path to what is there and is no file."""
    path, pipe = tmp_path / "odd.png", tmp_path / "pipe"
    with socket.socket(socket.AF_UNIX) as listening:
        if request.param == "pipe":
            os.mkfifo(path)
        elif request.param == "socket":
            listening.bind(str(path))
        elif request.param == "device":
            path.symlink_to("/dev/zero")
        elif request.param == "link to a pipe":
            os.mkfifo(pipe)
            path.symlink_to(pipe)
        else:
            reading, writing = os.pipe()
            path.symlink_to(f"/dev/fd/{reading}")
        yield path
        if request.param == "link to an open pipe":
            os.close(reading)
            os.close(writing)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("read", [load_image, check_image, image_bytes])
def test_what_is_no_file_is_refused_and_not_waited_for(read, no_file):
    with within(1), pytest.raises(ImageUnreadable, match=r"odd\.png.*pipe, a device"):
        read(no_file)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_large_pictures_are_decoded_one_at_a_time():
    # In a fresh process, whose peak is its own. One takes 8 bytes a pixel: 290 MB.
    code = (
        "import re, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from pathlib import Path\n"
        "from llama_index_mmrag.nodes.images import load_image\n"
        "def peak_mb():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) / 1e3\n"
        "data, before = sys.stdin.buffer.read(), peak_mb()\n"
        "with ThreadPoolExecutor(3) as threads:\n"
        "    read = lambda _: load_image(data, max_side=64).size\n"
        "    assert list(threads.map(read, range(3))) == [(64, 64)] * 3\n"
        "print(peak_mb() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=encoded(Image.new("RGBA", (6_000, 6_000), (255, 0, 0, 128))),
        # glibc would keep what each thread has freed.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        check=True,
    )
    assert 200 < float(done.stdout) < 400
