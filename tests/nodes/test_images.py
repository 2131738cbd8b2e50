from __future__ import annotations

import random
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.nodes.images import (
    check_image,
    describe_source,
    image_bytes,
    load_image,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


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


def test_missing_file_is_named():
    with pytest.raises(ImageUnreadable, match=r"'no/such\.jpg'.*No such file"):
        load_image("no/such.jpg")


def test_url_is_not_fetched_and_the_message_says_so():
    with pytest.raises(ImageUnreadable, match="URLs are not fetched"):
        load_image("https://example.com/cat.jpg")


@pytest.mark.parametrize("source", ["", "a\0b.png", None, 3], ids=repr)
def test_what_is_no_path_is_refused_by_name(source):
    with pytest.raises(ImageUnreadable, match=repr(source).replace("\\", r"\\")):
        load_image(source)


def test_folder_is_refused(tmp_path):
    with pytest.raises(ImageUnreadable, match="Is a directory"):
        load_image(tmp_path)


@pytest.mark.parametrize("read", [load_image, check_image])
def test_empty_file_is_refused_by_name(read, tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(ImageUnreadable, match=r"empty\.png.*empty file"):
        read(path)
    with pytest.raises(ImageUnreadable, match="zero bytes"):
        read(b"")
    with pytest.raises(ImageUnreadable, match="zero bytes"):
        read(BytesIO())


@pytest.mark.parametrize("read", [load_image, check_image])
def test_text_named_like_a_picture_is_refused(read, tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("not a picture")
    with pytest.raises(ImageUnreadable, match=r"notes\.png.*b'not a pi'"):
        read(path)


def test_formats_whose_readers_run_programs_are_not_read():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    with pytest.raises(ImageUnreadable, match="no known picture format"):
        load_image(postscript)


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


def test_palette_without_transparency_keeps_its_colours():
    palette = left_red_right_blue().convert("P", palette=Image.Palette.ADAPTIVE)
    picture = load_image(encoded(palette))
    assert (picture.getpixel((0, 0)), picture.getpixel((39, 0))) == (RED, BLUE)


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"], ids=["index", "bytes"])
def test_transparent_palette_entry_turns_white(transparency):
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((7, 7), 1)
    picture = load_image(encoded(palette, transparency=transparency))
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert picture.getpixel((7, 7)) == BLUE


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_on_white(mode):
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode)
    half.paste(Image.new("RGBA", (2, 4), (0, 0, 0, 255)).convert(mode), (2, 0))
    picture = load_image(encoded(half))
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert picture.getpixel((3, 0)) == (0, 0, 0)


def test_half_transparent_is_half_white():
    picture = load_image(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 128))))
    assert picture.getpixel((1, 1)) == (255, 127, 127)


def test_rgb_png_with_a_transparent_colour_is_laid_on_white():
    picture = load_image(encoded(left_red_right_blue(), transparency=RED))
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert picture.getpixel((39, 0)) == BLUE


def test_16_bits_are_scaled_not_clipped():
    ramp = np.array([[0, 257, 128 * 257, 65_535]], dtype=np.uint16)
    picture = load_image(encoded(Image.fromarray(ramp)))
    assert [picture.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


def test_black_and_white_is_read():
    picture = load_image(encoded(Image.new("1", (3, 3), 1)))
    assert picture.getpixel((1, 1)) == (255, 255, 255)


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


def test_exif_block_of_garbage_does_not_cost_the_picture():
    exif = b"Exif\x00\x00 this is no TIFF header"
    data = encoded(left_red_right_blue(), "JPEG", exif=exif)
    assert load_image(data).size == (40, 20)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_truncated_exif_does_not_cost_the_picture():
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff"
    data = encoded(left_red_right_blue(), "JPEG", exif=exif)
    assert load_image(data).size == (40, 20)


def test_one_pixel_is_a_picture():
    assert load_image(encoded(Image.new("RGB", (1, 1), GREEN))).getpixel((0, 0)) == (
        GREEN
    )


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
