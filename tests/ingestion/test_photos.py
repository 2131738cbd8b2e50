"""Photographs as telephones take them, and pictures of several pages."""

from __future__ import annotations

import base64
from io import BytesIO

import pytest
from llama_index.core.schema import ImageNode, MetadataMode
from PIL import Image

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.ingestion.files import read_file
from llama_index_mmrag.nodes.encoded_picture import encode_picture
from llama_index_mmrag.nodes.images import load_image

HEIC = base64.b64decode(
    b"AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABw"
    b"aWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAG0AAgAAAAAC"
    b"WQABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAA"
    b"AQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAA"
    b"AAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMA"
    b"kAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgA"
    b"AQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAA"
    b"Av////AAAAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMF"
    b"hIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAJltZGF0AAAAaSgBrxOA+BDhp3/81aj//b6c"
    b"8Pe0nif/+ogQR/h7w/+NnrxJKcI33kVnkpu/xJqZmMXl2osziRmxpMClh2/8xfNnO36/baiKQ9ei"
    b"RN4g9OG7OrTIDv/EBs/wmiqtAdmP5FVFhmBKGi1o0AAAAAZFeGlmAABNTQAqAAAACAABARIAAwAA"
    b"AAEABgAAAAAAAA=="
)
"""64 x 48 pixels, yellow on the left and blue on the right, to be turned by 90°."""


def tiff(*pages: Image.Image) -> bytes:
    out = BytesIO()
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    return out.getvalue()


def page(n: int) -> Image.Image:
    return Image.new("L", (60, 40), n % 256)


def test_a_heic_is_a_picture_that_stands_as_it_was_taken(tmp_path):
    file = tmp_path / "p.heic"
    file.write_bytes(HEIC)
    (node,) = read_file(file).nodes
    assert isinstance(node, ImageNode)
    assert (node.image_path, node.image_mimetype) == (str(file), "image/heic")
    shown = load_image(file)
    assert shown.size == (48, 64)
    above, below = shown.getpixel((24, 8)), shown.getpixel((24, 56))
    assert above[0] - above[2] > 100
    assert below[2] - below[0] > 80
    assert encode_picture(file, max_side=32).mimetype in {"image/jpeg", "image/png"}


def test_a_heic_is_known_by_its_content_and_opens_for_nobody_else(tmp_path):
    file = tmp_path / "p.jpg"
    file.write_bytes(HEIC)
    assert read_file(file).nodes[0].image_mimetype == "image/heic"
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(BytesIO(HEIC))


@pytest.mark.parametrize("length", [0, 11, 20, len(HEIC) // 2, len(HEIC) - 30])
def test_a_truncated_heic_is_told(length, tmp_path):
    file = tmp_path / "p.heif"
    file.write_bytes(HEIC[:length])
    with pytest.raises(ImageUnreadable, match=r"p\.heif"):
        read_file(file)


def test_a_heic_of_too_many_pixels_is_not_decoded():
    with pytest.raises(ImageUnreadable, match="at most 1,000 are decoded"):
        load_image(HEIC, max_pixels=1_000)


def test_each_page_of_a_tiff_is_a_picture_of_its_own(tmp_path):
    file = tmp_path / "scan.tif"
    file.write_bytes(tiff(page(10), page(120), page(250)))
    record = read_file(file)
    assert [node.metadata["page"] for node in record.nodes] == [1, 2, 3]
    assert all("page" not in n.get_content(MetadataMode.EMBED) for n in record.nodes)
    shades = [
        load_image(base64.b64decode(n.image)).getpixel((5, 5)) for n in record.nodes
    ]
    assert [shade[0] for shade in shades] == pytest.approx([10, 120, 250], abs=3)
    assert record.problems == ()


def test_a_tiff_of_one_page_is_its_file(tmp_path):
    file = tmp_path / "p.tiff"
    file.write_bytes(tiff(page(10)))
    (node,) = read_file(file).nodes
    assert (node.image_path, node.metadata.get("page")) == (str(file), None)


def test_a_tiff_of_thousands_of_pages_is_read_as_far_as_it_goes(tmp_path):
    file = tmp_path / "many.tif"
    file.write_bytes(tiff(*(page(n) for n in range(1_000))))
    record = read_file(file)
    assert len(record.nodes) == 300
    (problem,) = record.problems
    assert "p. 301: of 1,000 pages" in str(problem)


def test_pages_before_one_that_is_broken_are_kept(tmp_path):
    file = tmp_path / "broken.tif"
    whole = tiff(page(10), Image.effect_noise((200, 100), 90), page(20))
    second = Image.open(BytesIO(whole))
    second.seek(1)
    at = second.tag_v2.offset  # of what describes it: its pixels stand before
    data = bytearray(whole)
    data[at : at + 2] = (9_999).to_bytes(2, "little")
    file.write_bytes(data)
    record = read_file(file)
    assert len(record.nodes) == 1
    (problem,) = record.problems
    assert "p. 2" in str(problem)
