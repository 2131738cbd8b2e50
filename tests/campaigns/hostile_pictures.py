"""Pictures that were damaged at random: a picture or `ImageUnreadable`, nothing else.

Run as a module; prints what came of the cases by format, and every one that did
something else: another exception, more than 5 s, more than 1 GB. What takes a minute
ends the process, with the call that it is in.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.nodes.encoded_picture import encode_picture
from llama_index_mmrag.nodes.images import check_image, check_whole, load_image

MOST_S = 5.0
MOST_MB = 1_000
HANGS_S = 60

READS: dict[str, Callable[[bytes], Any]] = {
    "load_image": load_image,
    "load_image, small": lambda data: load_image(data, max_side=64),
    "check_image": check_image,
    "check_whole": lambda data: check_whole(data, name="it"),
    "encode_picture": lambda data: encode_picture(data, max_side=256),
}


def originals(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield pictures of every format and mode that is read, 61 x 47, as Pillow writes.

    Each with its format's name.
    """
    noise = rng.integers(0, 256, (47, 61, 4), dtype=np.uint8)
    noise[20:] = 200  # runs too, for what compresses them
    rgba = Image.fromarray(noise)
    rgb, deep = rgba.convert("RGB"), Image.fromarray(noise[..., 0].astype("uint16") * 9)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    more = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    jpegs = ({}, {"progressive": True}, {"exif": exif, "quality": 30})
    for settings in jpegs:
        yield written(rgb, "JPEG", **settings)
    yield written(rgb.convert("CMYK"), "JPEG")
    yield written(rgb, "MPO", **more)
    for picture in (rgb, rgba, rgba.convert("LA"), rgb.convert("P"), deep):
        yield written(picture, "PNG")
    yield written(rgb.convert("P"), "PNG", transparency=3, exif=exif)
    for settings in ({}, {"lossless": True}, {"exif": exif, **more}):
        yield written(rgba, "WEBP", **settings)
    for settings in ({}, {"interlace": 0}, more):
        yield written(rgb, "GIF", **settings)
    for picture in (rgb, rgba, rgb.convert("P"), rgb.convert("1")):
        yield written(picture, "BMP")
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        yield written(rgb, "TIFF", compression=compression)
    yield written(rgb.convert("1"), "TIFF", compression="group4")
    for picture in (deep, rgba, rgb.convert("F"), rgb.convert("CMYK")):
        yield written(picture, "TIFF")


def written(picture: Image.Image, format: str, **settings: Any) -> tuple[str, bytes]:
    buffer = BytesIO()
    picture.save(buffer, format, **settings)
    return format, buffer.getvalue()


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """Return a copy: cut off, with bits flipped, bytes replaced, zeroed or moved.

    Half of the changes hit the first 100 bytes, where sizes stand.
    """
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        end = min(len(data), rng.choice((100, len(data))))
        at = rng.randrange(end)
        n = min(rng.choice((1, 1, 2, 4, 64, 512)), len(data) - at)
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + n] = rng.randbytes(n)
        elif kind == 2:
            data[at : at + n] = rng.choice((b"\0", b"\xff", b"\x7f")) * n
        elif kind == 3 and at > 0:
            del data[at:]
        elif kind == 4 and n < len(data):
            del data[at : at + n]
        else:
            data[at:at] = data[at : at + n] * rng.choice((1, 30))
    return bytes(data)


def peak_mb() -> float:
    """Return the most memory that this process has had; 0 but on Linux."""
    # Not getrusage's: that begins with the parent's.
    if sys.platform != "linux":
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1e3 if found else 0.0


def tried(read: Callable[[bytes], Any], data: bytes) -> tuple[str, str]:
    """Return what came of one case in a word, and what is wrong with that."""
    before, started, wrong = peak_mb(), time.monotonic(), ""
    faulthandler.dump_traceback_later(HANGS_S, exit=True)
    try:
        read(data)
        outcome = "picture"
    except ImageUnreadable:
        outcome = "refused"
    except BaseException as error:  # noqa: BLE001 - a panic too is what is looked for
        outcome, wrong = "other", repr(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
    if (took_s := time.monotonic() - started) > MOST_S:
        outcome, wrong = "slow", f"{took_s:.1f} s {wrong}"
    if (more := peak_mb() - before) > MOST_MB:
        outcome, wrong = "large", f"{more:.0f} MB {wrong}"
    return outcome, wrong


def main() -> int:
    """Return how many cases came to what they must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's, of pictures that are damaged
    rng = random.Random(asked.seed)
    whole = list(originals(np.random.default_rng(asked.seed)))
    for format, data in whole:
        for name, read in READS.items():
            outcome, wrong = tried(read, data)
            if outcome != "picture":
                sys.exit(f"{name} of a whole {format}: {outcome} {wrong}")
    counts: dict[str, Counter[str]] = {format: Counter() for format, _ in whole}
    wrongs: list[str] = []
    slowest_s = 0.0
    for case in range(asked.cases):
        format, data = whole[case % len(whole)]
        data = damaged(data, rng)
        name = rng.choice(list(READS))
        started = time.monotonic()
        outcome, wrong = tried(READS[name], data)
        slowest_s = max(slowest_s, time.monotonic() - started)
        counts[format][outcome] += 1
        if wrong:
            wrongs.append(f"case {case}, {name} of a {format}: {wrong}\n{data.hex()}")
    for format, of_format in counts.items():
        print(f"{format:5}", dict(sorted(of_format.items())))
    print(
        f"{asked.cases} cases, {len(wrongs)} wrong; slowest {slowest_s:.2f} s, "
        f"at most {peak_mb():.0f} MB in the process"
    )
    print(*wrongs, sep="\n")
    return len(wrongs)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
