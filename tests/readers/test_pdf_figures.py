"""Figures of a PDF's page: pictures as displayed, drawings with a caption, captions."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.pdf.document import read
from llama_index_mmrag.readers.pdf.figures import (
    Figure,
    figures_of,
    marks_on,
    repeated_in,
)
from llama_index_mmrag.readers.pdf.lines import lines_of
from llama_index_mmrag.readers.pdf.objects import Sheet
from llama_index_mmrag.readers.pdf.tables import tables_of
from llama_index_mmrag.readers.pdf.writing import Vocabulary

WIDE, HIGH = 600, 800
BODY = "Words of a paragraph that has nothing to say, and says it at some length here."


def picture(wide: int = 200, high: int = 100) -> Image.Image:
    """Return a picture whose corners are of four colours."""
    x, y = np.meshgrid(np.linspace(0, 255, wide), np.linspace(0, 255, high))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype("uint8"))


def encoded(image: Image.Image, kind: str = "JPEG", **how: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


JPEG = encoded(picture(), quality=92)
PLACE = 100 / 600, 200 / 800, 400 / 600, 350 / 800
"""Of what is put at (100, 200), 300 points wide and 150 high."""


def put(
    canvas: Canvas, x: float, top: float, wide: float, high: float, data: bytes = JPEG
) -> None:
    reader = ImageReader(BytesIO(data))
    canvas.drawImage(reader, x, HIGH - top - high, wide, high, mask="auto")


def say(canvas: Canvas, x: float, top: float, text: str, size: float = 10) -> None:
    canvas.setFont("Times-Roman", size)
    canvas.drawString(x, HIGH - top - size, text)


def chart(canvas: Canvas, x: float, top: float, wide: float, high: float) -> None:
    """Draw bars on an axis, with their names."""
    foot = HIGH - top - high
    canvas.line(x, foot + 15, x + wide, foot + 15)
    canvas.line(x, foot + 15, x, foot + high)
    for n in range(5):
        canvas.rect(x + 10 + n * wide / 6, foot + 15, wide / 9, high / (n + 2), fill=1)
        canvas.setFont("Times-Roman", 8)
        canvas.drawString(x + 12 + n * wide / 6, foot + 4, f"b{n}")


def plot(canvas: Canvas, x: float, top: float, wide: float, high: float) -> None:
    """Draw a line on axes whose numbers stand close in one line."""
    foot = HIGH - top - high
    canvas.rect(x, foot + 30, wide, high - 30)
    canvas.line(x, foot + 30, x + wide, foot + high)
    canvas.setFont("Times-Roman", 8)
    canvas.drawString(x, foot + 20, "1 2 3 4 5 6 7 8 9 10 11 12 13 14")
    canvas.drawString(x + 100, foot + 6, "seconds")


def written(*draws: Callable[[Canvas], None], crop: object = None) -> bytes:
    out = BytesIO()
    canvas = Canvas(out, pagesize=(WIDE, HIGH))
    for draw in draws:
        if crop:
            canvas.setCropBox(crop)
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def sheet_of(data: bytes, turn: int = 0) -> Sheet:
    page = pypdfium2.PdfDocument(data)[0]
    page.set_rotation(turn)
    return Sheet(page, lines_of(page))


def drawn(
    draw: Callable[[Canvas], None], **how: object
) -> list[tuple[Figure, str, list[str]]]:
    """Return the figures of a page, their captions, and the words on them."""
    sheet = sheet_of(written(draw))
    return [
        (
            figure,
            " ".join(sheet.lines[i].text for i in figure.caption),
            [sheet.lines[i].text for i in figure.labels],
        )
        for figure in figures_of(sheet, How(), **how)
    ]


def looks_as(data: bytes, expected: Image.Image, most: float = 6) -> bool:
    shown = Image.open(BytesIO(data)).convert("RGB")
    small, its = shown.resize((40, 40)), expected.convert("RGB").resize((40, 40))
    is_shape = abs(shown.width / shown.height * expected.height / expected.width - 1)
    apart = ImageStat.Stat(ImageChops.difference(small, its)).mean
    return is_shape < 0.03 and max(apart) < most


def raw(
    data: bytes, kind: str, more: str = "", *, wide: int = 200, bits: int = 8
) -> bytes:
    """Return a file with one picture, as its parts are written."""
    colours = "/DeviceGray" if bits == 1 else "/DeviceRGB"
    shown = b"q 400 0 0 200 100 300 cm /I Do Q"
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R"
        b"/Resources<</XObject<</I 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(shown), shown),
        f"<</Subtype/Image/Width {wide}/Height {wide // 2}/BitsPerComponent {bits}"
        f"/ColorSpace {colours}/Filter {kind}{more}/Length {len(data)}>>stream\n"
        "".encode()
        + data
        + b"\nendstream",
    ]
    body = b"".join(b"%d 0 obj\n%b\nendobj\n" % it for it in enumerate(parts, 1))
    return b"%PDF-1.4\n" + body + b"trailer<</Size 6/Root 1 0 R>>"


def of_raw(data: bytes, **how: int) -> tuple[list[Figure], int]:
    """Return the figures of a file, and how many are told to be broken."""
    broken: list[str] = []
    figures = figures_of(sheet_of(data), How(**how), left_out=broken.append)
    return figures, len(broken)


def test_a_jpeg_is_its_own_bytes_in_its_place() -> None:
    ((figure, _, _),) = drawn(lambda canvas: put(canvas, 100, 200, 300, 150))
    assert figure.data == JPEG
    assert figure.box == pytest.approx(
        (100 / 600, 0.25, 400 / 600, 350 / 800), abs=2e-3
    )


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_what_a_turned_page_shows_is_turned(turn: int) -> None:
    sheet = sheet_of(written(lambda canvas: put(canvas, 100, 200, 300, 150)), turn)
    (figure,) = figures_of(sheet, How())
    assert looks_as(figure.data, picture().rotate(-turn, expand=True))
    x0, y0, x1, y1 = PLACE
    turned = {
        90: (1 - y1, x0, 1 - y0, x1),
        180: (1 - x1, 1 - y1, 1 - x0, 1 - y0),
        270: (y0, 1 - x1, y1, 1 - x0),
    }
    assert figure.box == pytest.approx(turned[turn], abs=3e-3)


def test_shares_are_of_the_page_as_it_is_cropped() -> None:
    data = written(
        lambda canvas: put(canvas, 100, 200, 300, 150), crop=(50, 0, 550, 700)
    )
    (figure,) = figures_of(sheet_of(data), How())
    assert figure.box == pytest.approx((0.1, 100 / 700, 0.7, 250 / 700), abs=3e-3)


def test_a_stretched_picture_is_as_wide_as_it_is_shown() -> None:
    ((figure, _, _),) = drawn(lambda canvas: put(canvas, 100, 200, 200, 200))
    assert looks_as(figure.data, picture().resize((200, 200)))
    assert Image.open(BytesIO(figure.data)).width >= 199


def test_a_soft_mask_is_seen_on_the_page() -> None:
    masked = picture().convert("RGBA")
    ImageDraw.Draw(masked).rectangle((0, 0, 99, 99), fill=(0, 0, 0, 0))
    data = encoded(masked, "PNG")
    ((figure, _, _),) = drawn(lambda canvas: put(canvas, 100, 200, 300, 150, data))
    expected = Image.new("RGB", (200, 100), "white")
    expected.paste(masked, mask=masked.getchannel("A"))
    assert looks_as(figure.data, expected)


def test_four_inks_are_shown_in_colours_of_the_screen() -> None:
    data = encoded(picture().convert("CMYK"), quality=92)
    ((figure, _, _),) = drawn(lambda canvas: put(canvas, 100, 200, 300, 150, data))
    assert Image.open(BytesIO(figure.data)).mode == "RGB"
    assert looks_as(figure.data, picture(), most=40)  # inks are not as bright


@pytest.mark.parametrize("kind", ["/JPXDecode", "/DCTDecode"])
def test_jpeg_2000_and_inverted_colours_are_shown_as_displayed(kind: str) -> None:
    if kind == "/JPXDecode":
        (figure,), _ = of_raw(raw(encoded(picture(), "JPEG2000"), kind))
        assert looks_as(figure.data, picture())
    else:
        (figure,), _ = of_raw(raw(JPEG, kind, "/Decode[1 0 1 0 1 0]"))
        assert looks_as(figure.data, ImageChops.invert(picture()))


def test_a_jpeg_that_says_it_is_turned_is_shown_as_the_page_does() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    (figure,), _ = of_raw(raw(encoded(picture(), exif=exif), "/DCTDecode"))
    assert Image.open(BytesIO(figure.data)).getexif().get(0x0112, 1) == 1
    assert looks_as(figure.data, picture())


def test_only_what_is_seen_of_a_cut_off_picture_is_shown() -> None:
    def draw(canvas: Canvas) -> None:
        path = canvas.beginPath()
        path.rect(100, HIGH - 350, 150, 150)
        canvas.clipPath(path, stroke=0, fill=0)
        put(canvas, 100, 200, 300, 150)

    ((figure, _, _),) = drawn(draw)
    assert figure.box == pytest.approx(
        (100 / 600, 0.25, 250 / 600, 350 / 800), abs=3e-3
    )
    assert looks_as(figure.data, picture().crop((0, 0, 100, 100)))


def test_pieces_are_one_picture_whatever_their_order() -> None:
    whole = picture(200, 200)

    def draw(canvas: Canvas) -> None:
        for n in (3, 7, 0, 15, *range(16)):
            x, y = n % 4 * 50, n // 4 * 50
            piece = encoded(whole.crop((x, y, x + 50, y + 50)), "PNG")
            put(canvas, 100 + x, 200 + y, 50, 50, piece)

    ((figure, _, _),) = drawn(draw)
    assert figure.box == pytest.approx((100 / 600, 0.25, 0.5, 0.5), abs=3e-3)
    assert looks_as(figure.data, whole)


def test_two_pictures_beside_each_other_stay_two() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 60, 200, 200, 100)
        put(canvas, 275, 200, 200, 100)

    assert [figure.data for figure, _, _ in drawn(draw)] == [JPEG, JPEG]


@pytest.mark.parametrize("is_row", [True, False])
def test_two_pictures_that_touch_stay_two_where_a_seam_is_seen(is_row: bool) -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 60, 200, 200, 100)
        put(canvas, *((260, 200) if is_row else (60, 300)), 200, 100)

    assert [figure.data for figure, _, _ in drawn(draw)] == [JPEG, JPEG]


def test_marks_and_what_is_on_many_pages_are_no_figures() -> None:
    logo = encoded(picture(90, 60).rotate(180))

    def mark(canvas: Canvas) -> None:
        put(canvas, 60, 200, 200, 100, encoded(picture(40, 20)))  # few pixels
        small = encoded(picture().rotate(90))
        put(canvas, 60, 400, 60, 30, small)  # a small part of the page

    def page(canvas: Canvas) -> None:
        put(canvas, 400, 20, 120, 80, logo)

    def both(canvas: Canvas) -> None:
        page(canvas)
        put(canvas, 100, 200, 300, 150)

    assert drawn(mark) == []
    document = pypdfium2.PdfDocument(written(both, page, mark, mark))
    repeated = repeated_in([*map(marks_on, document)])
    (figure,) = figures_of(Sheet(document[0]), How(), repeated=repeated)
    assert figure.data == JPEG
    assert (
        repeated_in([*map(marks_on, pypdfium2.PdfDocument(written(both)))])
        == frozenset()
    )


def test_a_picture_under_words_is_no_figure() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 0, 0, WIDE, HIGH)
        for n in range(50):
            say(canvas, 60, 60 + n * 14, BODY, 12)

    assert drawn(draw) == []


@pytest.mark.parametrize("is_in_a_form", [False, True])
def test_a_drawing_with_a_caption_is_drawn_with_its_words(is_in_a_form: bool) -> None:
    def draw(canvas: Canvas) -> None:
        say(canvas, 60, 100, BODY)
        if is_in_a_form:
            canvas.beginForm("chart")
        chart(canvas, 100, 200, 300, 150)
        if is_in_a_form:
            canvas.endForm()
            canvas.doForm("chart")
        say(canvas, 100, 360, "Figure 1: Bars", 8)
        say(canvas, 60, 400, BODY)

    ((figure, caption, labels),) = drawn(draw)
    assert caption == "Figure 1: Bars"
    assert sorted(labels) == [f"b{n}" for n in range(5)]
    assert figure.box == pytest.approx(PLACE, abs=0.02)
    shown = Image.open(BytesIO(figure.data))
    assert shown.width > 500
    assert shown.convert("L").getextrema() == (0, 255)


def test_numbers_of_an_axis_are_of_its_drawing() -> None:
    def draw(canvas: Canvas) -> None:
        plot(canvas, 100, 200, 300, 150)
        say(canvas, 100, 360, "Figure 1: A line", 8)

    ((figure, caption, labels),) = drawn(draw)
    assert (caption, len(labels)) == ("Figure 1: A line", 2)
    assert figure.box == pytest.approx(PLACE, abs=0.02)


def test_a_drawing_without_a_caption_and_frames_are_left() -> None:
    def draw(canvas: Canvas) -> None:
        chart(canvas, 100, 100, 300, 150)
        canvas.rect(50, HIGH - 600, 500, 220)  # around a picture and its caption
        put(canvas, 100, 400, 300, 150)
        say(canvas, 100, 560, "Figure 1: Framed")
        canvas.line(60, HIGH - 700, 500, HIGH - 700)
        say(canvas, 60, 705, "1 A footnote", 8)

    ((figure, caption, _),) = drawn(draw)
    assert (figure.data, caption) == (JPEG, "Figure 1: Framed")


def test_arrows_and_words_on_a_picture_are_shown_with_it() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 100, 200, 300, 150)
        canvas.setStrokeColorRGB(1, 1, 1)
        canvas.setLineWidth(20)
        canvas.line(120, HIGH - 220, 380, HIGH - 330)
        say(canvas, 150, 320, "Cortex", 8)
        say(canvas, 100, 360, "Figure 1: Named", 8)

    ((figure, caption, labels),) = drawn(draw)
    assert (caption, labels) == ("Figure 1: Named", ["Cortex"])
    middle = Image.open(BytesIO(figure.data)).convert("RGB").resize((100, 50))
    assert min(middle.getpixel((50, 25))) > 240


def test_a_drawing_that_takes_too_long_is_told() -> None:
    def draw(canvas: Canvas) -> None:
        for n in range(1_000):
            canvas.line(100, HIGH - 200 - n % 150, 400, HIGH - 350 + n % 150)
        say(canvas, 100, 360, "Figure 1: Many lines", 8)

    sheet, told = sheet_of(written(draw)), list[str]()
    assert len(figures_of(sheet, How())) == 1
    sheet.draws_until = 0.0
    assert figures_of(sheet, How(), left_out=told.append) == []
    assert [why.partition(" and")[0] for why in told] == [
        "a picture takes too long to draw"
    ]


def test_a_picture_in_a_table_is_a_figure_and_its_caption_is_the_tables() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 100, 60, 300, 90)
        say(canvas, 100, 165, "Table 1: Things", 9)
        canvas.grid([100, 350, 500], [HIGH - y for y in (180, 200, 320, 340)])
        for n, top in enumerate((184, 204, 324)):
            say(canvas, 104, top, f"Thing {n}", 9)
            say(canvas, 354, top, f"{n} pieces", 9)
        put(canvas, 110, 220, 200, 95, encoded(picture().rotate(180)))

    sheet = sheet_of(written(draw))
    (table,) = tables_of(sheet, Vocabulary())
    figures = figures_of(sheet, How(), tables=[table])
    assert [figure.caption for figure in figures] == [(), ()]
    assert table.caption
    assert len(figures_of(sheet, How())) == 2


def test_a_headline_over_a_picture_stays_in_the_text() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 100, 200, 300, 150)
        say(canvas, 120, 220, "Annual Report", 24)

    ((_, caption, labels),) = drawn(draw)
    assert (caption, labels) == ("", [])


def test_tags_make_a_drawing_a_figure_with_the_words_in_it() -> None:
    def draw(canvas: Canvas) -> None:
        canvas._code.append("/Figure <</MCID 3>> BDC")
        chart(canvas, 100, 200, 300, 150)
        canvas._code.append("EMC")
        say(canvas, 60, 100, "b0")

    assert drawn(draw) == []
    ((figure, caption, labels),) = drawn(draw, tagged=[frozenset({3, 4})])
    assert (caption, sorted(labels)) == ("", [f"b{n}" for n in range(5)])
    assert figure.mcids == {3}
    assert figure.box == pytest.approx(PLACE, abs=0.02)


def test_a_caption_of_several_lines_is_whole_and_ends_before_the_text() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 100, 100, 300, 150)
        say(canvas, 100, 256, "Figure 3.2 A pie that was baked at home, by the", 8)
        say(canvas, 100, 266, "second author, and that was not eaten before", 8)
        say(canvas, 100, 276, "it was cold", 8)
        for n in range(3):
            say(canvas, 100, 300 + 12 * n, BODY)

    ((_, caption, _),) = drawn(draw)
    assert caption.startswith("Figure 3.2 A pie")
    assert caption.endswith("before it was cold")


def test_a_sentence_about_a_figure_is_not_its_caption() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 100, 100, 300, 150)
        say(canvas, 100, 256, "Figure 3.2 shows a pie, as does what")
        say(canvas, 100, 268, "Figure 3.3: is said to show, in this paragraph.")

    ((_, caption, _),) = drawn(draw)
    assert caption == ""


def test_captions_stand_above_where_most_figures_of_a_page_have_theirs() -> None:
    def draw(canvas: Canvas) -> None:
        for n in range(3):
            say(canvas, 100, 100 + n * 150, f"Abbildung {n}: Kuchen")
            put(canvas, 100, 115 + n * 150, 240, 120)

    assert [caption for _, caption, _ in drawn(draw)] == [
        f"Abbildung {n}: Kuchen" for n in range(3)
    ]


def test_each_of_two_columns_has_its_own_captions() -> None:
    def draw(canvas: Canvas) -> None:
        for n, x in enumerate((50, 310)):
            put(canvas, x, 100 + 40 * n, 240, 120)
            say(canvas, x, 225 + 40 * n, f"Fig. {n}. Left or right", 8)

    assert [caption for _, caption, _ in drawn(draw)] == [
        "Fig. 0. Left or right",
        "Fig. 1. Left or right",
    ]


@pytest.mark.parametrize("is_row", [True, False])
def test_two_figures_under_one_caption_both_have_it(is_row: bool) -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 60, 100, 220, 110)
        put(canvas, *((300, 100) if is_row else (60, 225)), 220, 110)
        say(canvas, 60, 215 if is_row else 340, "Figure 1: Before and after")
        say(canvas, 60, 400, BODY)

    found = drawn(draw)
    assert [caption for _, caption, _ in found] == ["Figure 1: Before and after"] * 2


def test_a_caption_at_the_head_of_the_next_page_is_that_of_its_figure(tmp_path) -> None:
    def first(canvas: Canvas) -> None:
        say(canvas, 60, 60, BODY)
        put(canvas, 100, 600, 300, 150)

    def second(canvas: Canvas) -> None:
        say(canvas, 60, 40, "Figure 1: From the page before", 9)
        say(canvas, 60, 80, BODY)

    file = tmp_path / "a.pdf"
    file.write_bytes(written(first, second))
    (section,) = read(file, How()).sections
    (link,) = section.pictures
    assert link.figcaption == "Figure 1: From the page before"
    assert (link.data, link.about["page"]) == (JPEG, 1)
    assert section.text.count("Figure 1") == 1


def test_text_between_keeps_a_caption_from_a_figure() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 100, 100, 300, 150)
        say(canvas, 60, 260, BODY)
        say(canvas, 100, 290, "Figure 1: Something that is not there")

    assert [caption for _, caption, _ in drawn(draw)] == [""]


def test_what_names_a_panel_or_whose_picture_it_is_does_not() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, 100, 100, 300, 150)
        say(canvas, 220, 252, "(a) Photo by NASA", 7)
        say(canvas, 100, 266, "Figure 1: Something that is there", 9)

    assert [caption for _, caption, _ in drawn(draw)] == [
        "Figure 1: Something that is there"
    ]


@pytest.mark.parametrize(
    ("data", "n_figures", "n_broken"),
    [
        (raw(JPEG[:300], "/DCTDecode"), 0, 1),
        (raw(b"no zlib", "/FlateDecode"), 0, 1),
        (raw(encoded(picture(), "JPEG2000")[:200], "/JPXDecode"), 0, 1),
        (raw(zlib.compress(b"\xff" * 60_000), "/FlateDecode"), 0, 0),
        (raw(JPEG[: len(JPEG) // 2], "/DCTDecode"), 1, 0),
    ],
    ids=["jpeg", "zlib", "jpeg 2000", "white", "half a jpeg"],
)
def test_a_blank_picture_is_told_where_its_data_are_broken(
    data: bytes, n_figures: int, n_broken: int
) -> None:
    figures, told = of_raw(data)
    assert (len(figures), told) == (n_figures, n_broken)
    assert all(Image.open(BytesIO(figure.data)).load() for figure in figures)


def test_a_picture_of_too_many_pixels_is_drawn() -> None:
    row = bytes([0b11110000]) * 1_000 + bytes(250)
    data = raw(zlib.compress(row * 5_000), "/FlateDecode", wide=10_000, bits=1)
    (figure,), n_broken = of_raw(data, pixels=1 << 20)
    shown = Image.open(BytesIO(figure.data))
    assert max(shown.size) <= 2_048
    grey, dark = (
        shown.convert("L").getpixel((shown.width * n // 10, 9)) for n in (4, 9)
    )
    assert n_broken == 0
    assert dark == pytest.approx(0, abs=2)
    assert grey > 60

    (own,), _ = of_raw(raw(JPEG, "/DCTDecode"), pixels=1_000)
    assert own.data != JPEG
    assert looks_as(own.data, picture())
