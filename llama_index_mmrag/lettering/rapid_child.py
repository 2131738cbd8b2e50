"""Child process: RapidOCR, which reads the pictures that come through its input.

A picture is a line of JSON, `{"width": …, "height": …, "turns": …}`, and its pixels,
three bytes each, in RGB. The answer is a line of JSON: a list of [text, corners,
confidence], or what went wrong. Run by path and by itself, so that it imports nothing
but the engine.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO


def refuse_network(event: str, args: tuple[Any, ...]) -> None:
    """Raise where the engine would download what it lacks, without asking."""
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"it asks the network for {args!r}, and is not to")


def begun(n_threads: int) -> Any:
    """Return the engine with all of its weights in memory."""
    import cv2
    import numpy as np
    from rapidocr import RapidOCR

    cv2.setNumThreads(n_threads)
    engine = RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.text_score": 0.0,  # who searches decides what is sure enough
            "EngineConfig.onnxruntime.intra_op_num_threads": n_threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
    # Each model is loaded at its first use, and used only where there are letters.
    page = np.full((64, 256, 3), 255, np.uint8)
    cv2.putText(page, "letters", (8, 48), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 0), 3)
    engine(page)
    return engine


def read(
    engine: Any, pictures: BinaryIO, width: int, height: int, *, turns: bool
) -> Any:
    """Return the lines of one picture, of which some may lie on their heads."""
    import numpy as np

    pixels = np.frombuffer(pictures.read(width * height * 3), np.uint8)
    rgb = pixels.reshape(height, width, 3)
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    found = engine(bgr, use_cls=turns)
    if found.txts is None:
        return []
    every = zip(found.txts, found.boxes.tolist(), found.scores, strict=True)
    return [[text, corners, float(score)] for text, corners, score in every]


def main() -> None:
    """Read pictures until nobody is there to send any."""
    # This folder holds modules of names that others mean differently.
    sys.path[:] = [p for p in sys.path if Path(p) != Path(__file__).parent]
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what the engine prints is no answer
    sys.addaudithook(refuse_network)

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    def failure(error: BaseException) -> dict[str, str]:
        return {"error": f"{type(error).__name__}: {error}"[:2000]}

    try:
        engine = begun(int(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - whatever damage leads to
        answer(failure(error))
        return
    answer({"begun": True})
    pictures = sys.stdin.buffer
    while line := pictures.readline():
        try:
            answer(read(engine, pictures, **json.loads(line)))
        except Exception as error:  # noqa: BLE001 - one picture must not stop the rest
            answer(failure(error))


if __name__ == "__main__":
    main()
