"""RapidOCR as its child process runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from llama_index_mmrag.errors import (
    ImageUnreadable,
    InvalidSetting,
    MissingExtra,
    ReaderUnusable,
)
from llama_index_mmrag.lettering import rapid, reader_of, words_in
from llama_index_mmrag.nodes.images import load_image

WHO = "said = str(os.getpid())"
ORIENTATION = 0x0112


@pytest.fixture
def reader():
    with_engine = reader_of(True)
    yield with_engine
    with_engine.close()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ends(pid: int) -> bool:
    """Return whether a process that is not ours to wait for ends within seconds."""
    until = time.monotonic() + 20
    while (running := is_running(pid)) and time.monotonic() < until:
        time.sleep(0.05)
    return not running


def engine_is_taken() -> bool:
    """Return whether a thread has the engine, to begin it or to read with it."""
    if not rapid._LOCK.acquire(blocking=False):
        return True
    rapid._LOCK.release()
    return False


def pid_of(reader, picture) -> int:
    (line,) = reader.read(picture)
    return int(line.text)


def test_words_are_read_where_they_stand_and_no_network_is_asked(
    reader, lettered, no_network
):
    (line,) = reader.read(lettered())
    assert line.text == "STIGMA and STYLE"
    assert words_in([line]) == line.text
    assert line.confidence > 0.9
    x0, y0, x1, y1 = line.box
    assert (x0, y0) == pytest.approx((0.5, 0.27), abs=0.03)
    assert x1 - x0 == pytest.approx(0.47, abs=0.06)
    assert 0.27 < y1 < 0.5


def test_lines_of_a_page_are_not_turned(engine, paint):
    engine("said = str(use_cls)")
    readers = [reader_of("rapidocr", of_pages=of) for of in (False, True)]
    said = [reader.read(paint("red"))[0].text for reader in (*readers, readers[0])]
    for one in readers:
        one.close()
    assert said == ["True", "False", "True"]


def test_a_picture_that_lies_on_its_side_is_read_upright(reader, lettered, tmp_path):
    upright = load_image(lettered())
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned clockwise
    lying = tmp_path / "lying.jpg"
    upright.transpose(Image.Transpose.ROTATE_90).save(lying, exif=exif, quality=95)
    (expected,), (line,) = reader.read(lettered()), reader.read(lying.read_bytes())
    assert line.text == expected.text
    assert line.box == pytest.approx(expected.box, abs=0.02)


@pytest.mark.parametrize("size", [(1_800, 120), (120, 1_800)])
def test_boxes_of_a_thin_picture_are_shares_of_it_and_not_of_what_is_added(
    reader, lettered, size
):
    at = (900, 50) if size[0] > size[1] else (4, 900)
    (line,) = reader.read(lettered("STIGMA", size=size, at=at))
    assert line.text == "STIGMA"
    assert line.box[0] == pytest.approx(at[0] / size[0], abs=0.06)
    assert line.box[1] == pytest.approx(at[1] / size[1], abs=0.05)


@pytest.mark.parametrize(
    ("size", "mode"),
    [((1, 10_000), "RGB"), ((10_000, 1), "L"), ((1, 1), "RGB"), ((300, 200), "RGB")],
)
def test_white_pictures_of_any_shape_have_no_words(reader, tmp_path, size, mode):
    Image.new(mode, size, "white").save(tmp_path / "white.png")
    assert words_in(reader.read(tmp_path / "white.png")) is None


def test_a_picture_of_another_kind_is_read_like_any(reader, lettered, tmp_path):
    plain = load_image(lettered())
    plain.convert("CMYK").save(tmp_path / "inks.jpg", quality=95)
    other = Image.new("RGB", plain.size, "white")
    plain.save(tmp_path / "moving.gif", save_all=True, append_images=[other])
    for name in ("inks.jpg", "moving.gif"):
        assert words_in(reader.read(tmp_path / name)) == "STIGMA and STYLE"


def test_what_is_no_picture_or_too_large_is_refused_before_an_engine_is_begun(
    engine, tmp_path
):
    engine("pass", begin="os._exit(1)")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "large.png")
    for wrong in (tmp_path / "large.png", tmp_path / "none.png", b"", b"no picture"):
        with pytest.raises(ImageUnreadable):
            reader_of(True).read(wrong)


def test_an_engine_that_hangs_is_ended_and_the_next_picture_is_read(
    engine, paint, reader
):
    engine("time.sleep(60 if width == 16 else 0); said = str(os.getpid())")
    picture = Image.new("RGB", (20, 20))
    first = pid_of(reader, _bytes(picture))
    with pytest.raises(ImageUnreadable, match=r"red\.png.*longer than 0\.5 s"):
        reader.read(paint("red"), timeout_s=0.5)
    assert not is_running(first)
    assert pid_of(reader, _bytes(picture)) != first


def test_an_engine_that_dies_or_fails_at_a_picture_reads_the_next(
    engine, paint, reader
):
    engine(f"os._exit(3) if width == 16 else int('x' * (width == 17)) or {WHO!r}")
    with pytest.raises(ImageUnreadable, match="exit status 3"):
        reader.read(paint("red"))
    with pytest.raises(ImageUnreadable, match="ValueError"):
        reader.read(paint("red", size=(17, 9)))


def _bytes(picture: Image.Image) -> bytes:
    from llama_index_mmrag.nodes.images import image_bytes

    return image_bytes(picture)


def test_readers_share_an_engine_that_ends_with_the_last_of_them(engine, paint):
    engine(WHO)
    red, blue = paint("red"), paint("blue")
    one, other = reader_of(True), reader_of("rapidocr")
    pid = pid_of(one, red)
    assert pid_of(other, blue) == pid != os.getpid()
    one.close()
    assert is_running(pid)
    other.close()
    other.close()
    assert not is_running(pid)
    again = pid_of(one, red)  # begun anew
    assert again != pid
    del one
    assert ends(again)  # nobody has a reader any more


def test_a_reader_that_is_gone_waits_for_nobody(engine, paint, reader):
    engine("time.sleep(5)")
    gone = reader_of(True)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reader.read, paint("red"))
        while not engine_is_taken():
            time.sleep(0.01)
        before = time.monotonic()
        del gone  # as any thread may collect it, that of an event loop too
        took = time.monotonic() - before
        assert not reading.done()
        assert took < 1
        (line,) = reading.result()
    assert line.text == "begun"


def test_threads_get_the_lines_of_their_own_pictures(engine, paint, reader):
    engine("said = f'{width}'")
    pictures = [_bytes(Image.new("RGB", (width, 20))) for width in range(10, 40)]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(reader.read, pictures))
    assert [line.text for (line,) in read] == [str(width) for width in range(10, 40)]


def test_the_engine_ends_with_a_process_that_is_killed(engine, paint):
    engine(WHO)
    code = (
        "import sys, os; from llama_index_mmrag.lettering import reader_of\n"
        "print(reader_of(True).read(sys.argv[1])[0].text, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(paint("red"))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -9
    assert ends(int(done.stdout))


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        ("os._exit(4)", "exit status 4"),
        ("raise ImportError('libGL.so.1 is missing')", "libGL"),
        ("__import__('socket').getaddrinfo('example.com', 80)", "asks the network"),
    ],
)
def test_an_engine_that_cannot_be_begun_is_no_picture_s_fault(
    engine, paint, reader, begin, said
):
    engine("pass", begin)
    with pytest.raises(ReaderUnusable, match=said):
        reader.read(paint("red"))


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_weights_that_are_not_those_of_the_wheel_are_not_used(
    engine, paint, reader, tmp_path, damage
):
    engine(WHO)
    model, about = Path("rapidocr/a.onnx"), Path("rapidocr-3.99.dist-info")
    (tmp_path / "site" / about).mkdir()
    weights = tmp_path / "site" / model
    weights.write_bytes(b"trained")
    digest = urlsafe_b64encode(sha256(b"trained").digest()).rstrip(b"=").decode()
    record = f"{model},sha256={digest},7\n"
    (tmp_path / "site" / about / "RECORD").write_text(record)
    (tmp_path / "site" / about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rapidocr\nVersion: 3.99\n"
    )
    assert reader_of(True).version == "3.99 (a)"
    assert reader.read(paint("red"))
    reader.close()
    weights.unlink() if damage == "missing" else weights.write_bytes(b"trainee")
    with pytest.raises(ReaderUnusable, match=r"a\.onnx.*pip install"):
        reader.read(paint("red"))
    weights.write_bytes(b"trained")
    assert reader.read(paint("red"))


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime"])
def test_without_the_extra_it_is_said_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"llama-index-mmrag\[ocr\]"):
        reader_of("rapidocr")


def test_another_language_is_refused_since_its_weights_would_be_downloaded():
    assert reader_of(True).language == reader_of(True, "multilingual").language
    with pytest.raises(InvalidSetting, match="'arabic'.*tesseract"):
        reader_of(True, "arabic")


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), 1e9, None])
def test_a_timeout_is_a_time(reader, paint, timeout_s):
    with pytest.raises(InvalidSetting, match="timeout_s"):
        reader.read(paint("red"), timeout_s=timeout_s)
