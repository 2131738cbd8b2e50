"""Pictures as a model is sent them: their format, size and sharpness."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.nodes.encoded_picture import EncodedPicture, encode_picture


def opened(picture: EncodedPicture) -> Image.Image:
    return Image.open(BytesIO(picture.data))


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), dtype=float)


def drawing(width: int = 400, height: int = 300) -> Image.Image:
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    for n in range(12):
        pen.line((n * 30, 0, width - n * 20, height), fill="red", width=2)
        pen.text((20, n * 24), f"valve {n}", fill="blue")
    return page


def photograph(width: int = 90, height: int = 60) -> Image.Image:
    """A smooth picture of thousands of colours."""
    x, y = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 4, height))
    waves = [np.sin(x + c) * np.cos(y - c) * 120 + 128 for c in range(3)]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


def test_a_drawing_is_a_png_that_lost_nothing_and_is_smaller_than_the_jpeg():
    page = drawing()
    sent = encode_picture(page, max_side=1024)
    assert (sent.mimetype, opened(sent).format) == ("image/png", "PNG")
    np.testing.assert_array_equal(pixels(opened(sent)), pixels(page))
    jpeg = BytesIO()
    page.save(jpeg, "JPEG", quality=85)
    assert sent.n_bytes < len(jpeg.getvalue()) / 2


@pytest.mark.parametrize("n_colours", [1, 2, 255, 256])
def test_up_to_256_colours_lose_nothing(n_colours):
    rng = np.random.default_rng(n_colours)
    palette = rng.integers(0, 256, (n_colours, 3), dtype=np.uint8)
    # In stripes, as drawings have them: noise is the smaller file as a JPEG.
    stripes = np.repeat(np.arange(4 * n_colours) % n_colours, 8)
    page = Image.fromarray(np.tile(palette[stripes], (32, 1, 1)))
    sent = encode_picture(page, max_side=page.width)
    assert sent.mimetype == "image/png"
    np.testing.assert_array_equal(pixels(opened(sent)), pixels(page))


def test_a_photograph_is_a_jpeg_close_to_it():
    picture = photograph()
    sent = encode_picture(picture, max_side=1024)
    assert (sent.mimetype, opened(sent).format) == ("image/jpeg", "JPEG")
    assert np.abs(pixels(opened(sent)) - pixels(picture)).mean() < 2


def test_grey_noise_has_few_colours_and_is_smaller_as_a_jpeg():
    noise = Image.effect_noise((200, 200), 60).convert("RGB")
    assert encode_picture(noise, max_side=200).mimetype == "image/jpeg"


def test_fine_lines_in_colour_stay_sharp_in_a_jpeg():
    page = Image.fromarray(pixels(drawing()).astype(np.uint8))
    page.paste(photograph(), (0, 0))  # no drawing any more
    sent = encode_picture(page, max_side=1024)
    assert sent.mimetype == "image/jpeg"
    coarse = BytesIO()
    page.save(coarse, "JPEG", quality=85)
    error = np.square(pixels(opened(sent)) - pixels(page)).mean()
    halved = np.square(pixels(Image.open(coarse)) - pixels(page)).mean()
    assert error < halved / 3


@pytest.mark.parametrize("make", [drawing, photograph])
def test_the_longest_side_is_kept_to_and_no_picture_is_enlarged(make):
    small = encode_picture(make(300, 150), max_side=100)
    assert (small.width, small.height) == opened(small).size == (100, 50)
    assert small.n_pixels == 5000
    same = encode_picture(make(90, 60), max_side=1024)
    assert opened(same).size == (90, 60)


def test_its_block_says_what_it_is():
    sent = encode_picture(photograph(), max_side=64)
    block = sent.block()
    assert block.image_mimetype == "image/jpeg"
    assert block.resolve_image().read() == sent.data
    assert sent.n_bytes == len(sent.data)


def test_a_missing_picture_cannot_be_encoded(tmp_path):
    with pytest.raises(ImageUnreadable, match=r"gone\.png"):
        encode_picture(tmp_path / "gone.png", max_side=64)
