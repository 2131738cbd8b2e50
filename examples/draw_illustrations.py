"""Draws the handbook's own illustrations, pixel for pixel the same in each run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent / "data" / "handbook" / "illustrations"

WIDTH, HEIGHT = 480, 360
_SCALE = 3
"""Drawn three times as large and shrunk: Pillow draws no smooth edges itself."""

_INK = "#22303c"
_RED = "#c8372d"
_AMBER = "#e8a317"
_GREEN = "#3f8f4f"
_BLUE = "#4d8fc4"
_BROWN = "#9c6b3f"
_SKY = "#dfeaf2"
_GROUND = "#b9c4a2"


class Pen:
    """Draws in the picture's own units; lines are round at their ends."""

    def __init__(self, background: str) -> None:
        self.image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), background)
        self._draw = ImageDraw.Draw(self.image)

    def line(
        self, *points: tuple[float, float], width: float = 4, ink: str = _INK
    ) -> None:
        """Draw through the points, with round ends."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, ink, round(width * _SCALE), joint="curve")
        for x, y in (points[0], points[-1]):
            self.disc(x, y, width / 2, ink)

    def disc(self, x: float, y: float, radius: float, fill: str) -> None:
        """Draw a filled circle."""
        self._draw.ellipse(self._box(x, y, radius), fill)

    def ring(
        self, x: float, y: float, radius: float, width: float, ink: str = _INK
    ) -> None:
        """Draw a circle."""
        self._draw.ellipse(
            self._box(x, y, radius), outline=ink, width=round(width * _SCALE)
        )

    def area(self, *points: tuple[float, float], fill: str, edge: str = _INK) -> None:
        """Draw a filled polygon and its edge."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.polygon(scaled, fill)
        self.line(*points, points[0], width=3, ink=edge)

    def _box(self, x: float, y: float, radius: float) -> tuple[float, ...]:
        edges = (x - radius, y - radius, x + radius, y + radius)
        return tuple(edge * _SCALE for edge in edges)


def bicycle(pen: Pen) -> None:
    back, front = (130.0, 240.0), (350.0, 240.0)
    for x, y in (back, front):
        pen.ring(x, y, 72, 9)
        for spoke in range(12):
            angle = math.pi * spoke / 6
            end = (x + 64 * math.cos(angle), y + 64 * math.sin(angle))
            pen.line((x, y), end, width=1, ink="#7a8791")
        pen.disc(x, y, 7, _INK)
    crank, saddle, head = (222.0, 244.0), (195.0, 148.0), (322.0, 150.0)
    pen.line(back, crank, saddle, back, width=7, ink=_BLUE)
    pen.line(saddle, head, crank, width=7, ink=_BLUE)
    pen.line((314, 122), head, front, width=7, ink=_BLUE)
    pen.line((saddle[0], saddle[1]), (188, 124), width=5)
    pen.line((164, 120), (212, 120), width=11)
    pen.line((314, 122), (338, 112), (352, 122), width=6)
    pen.ring(*crank, 20, 5)
    pen.line((208, 262), (236, 226), width=5)
    # The nail, from below into the back tyre.
    pen.line((104, 338), (112, 300), width=4, ink=_RED)
    pen.line((94, 336), (114, 341), width=5, ink=_RED)


def rain_barrel(pen: Pen) -> None:
    pen.area((0, 310), (WIDTH, 310), (WIDTH, HEIGHT), (0, HEIGHT), fill=_GROUND)
    pen.area((0, 60), (300, 60), (300, 84), (0, 84), fill="#8b97a0")
    pen.line((286, 84), (286, 118), (236, 140), (236, 168), width=14, ink="#8b97a0")
    staves = [(168.0, 172.0), (304.0, 172.0), (318.0, 240.0), (304.0, 312.0)]
    pen.area(*staves, (168.0, 312.0), (154.0, 240.0), fill=_BROWN)
    for x in (192, 218, 254, 280):
        pen.line((x, 174), (x + (x - 236) * 0.15, 240), (x, 310), width=2)
    for y, bulge in ((198, 6), (286, 6)):
        pen.line((168 - bulge, y), (304 + bulge, y), width=7, ink="#59636b")
    pen.line((306, 292), (334, 292), (334, 304), width=7, ink=_AMBER)
    pen.disc(334, 318, 5, _BLUE)
    pen.disc(334, 334, 4, _BLUE)
    pen.line((312, 208), (392, 214), (420, 330), width=9, ink=_GREEN)


def telescope(pen: Pen) -> None:
    pen.area((0, 320), (WIDTH, 320), (WIDTH, HEIGHT), (0, HEIGHT), fill=_GROUND)
    for foot in (170, 240, 312):
        pen.line((240, 214), (foot, 330), width=9, ink=_BROWN)
    pen.line((197, 288), (285, 288), width=4, ink=_BROWN)
    pen.area((118, 236), (352, 96), (374, 132), (140, 272), fill="#f4f4f0")
    pen.area((344, 90), (360, 80), (390, 130), (374, 140), fill=_INK)
    pen.line((128, 254), (104, 268), width=18)
    pen.line((104, 268), (96, 284), width=10)
    # The finder, parallel to the tube.
    pen.area((150, 178), (244, 122), (252, 136), (158, 192), fill=_RED)
    pen.line((180, 186), (188, 198), width=5)
    pen.line((228, 158), (236, 170), width=5)
    pen.disc(240, 208, 14, _INK)
    for x, y in ((60, 60), (200, 40), (430, 60), (410, 210), (50, 160)):
        pen.line((x - 7, y), (x + 7, y), width=2, ink=_AMBER)
        pen.line((x, y - 7), (x, y + 7), width=2, ink=_AMBER)


def signal_mast(pen: Pen) -> None:
    pen.area((0, 322), (WIDTH, 322), (WIDTH, HEIGHT), (0, HEIGHT), fill=_GROUND)
    pen.line((240, 330), (240, 30), width=14, ink="#6b7780")
    pen.area((192, 50), (288, 50), (288, 270), (192, 270), fill=_INK)
    for y, colour in ((90, _RED), (160, _AMBER), (230, _GREEN)):
        pen.disc(240, y, 29, colour)
        pen.ring(240, y, 31, 4, "#59636b")
    pen.line((380, 40), (350, 110), (384, 104), (346, 190), width=7, ink=_AMBER)


DRAWINGS: dict[str, tuple[Callable[[Pen], None], str]] = {
    "bicycle": (bicycle, "#ffffff"),
    "rain_barrel": (rain_barrel, _SKY),
    "telescope": (telescope, _SKY),
    "signal_mast": (signal_mast, "#c3ced6"),
}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (draw, background) in DRAWINGS.items():
        pen = Pen(background)
        draw(pen)
        small = pen.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        path = FOLDER / f"{name}.png"
        small.quantize(128).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
