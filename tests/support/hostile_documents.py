"""Documents that attack who reads them, each made by a function into a folder."""

from __future__ import annotations

import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path

import docx
import pptx
from docx.opc.constants import RELATIONSHIP_TYPE
from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

SECRET = "the secret of another folder"
KINDS = ("read", "told", "read and told", "read or told", "ignored")


@dataclass(frozen=True)
class Case:
    """A file, or some, and what must come of the one named first."""

    make: Callable[[Path], object]
    wants: str
    """One of `KINDS`: its words go in, or there is a problem that says why not."""
    limits: tuple[tuple[str, float], ...] = ()
    """Of `ReadLimits`, where its own are longer than what a campaign waits."""


CASES: dict[str, Case] = {}
"""By the name of the file; what else a case makes lies beside it."""


def case(
    name: str, wants: str, **limits: float
) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """Return a decorator: a function's bytes are a file."""

    def known(make: Callable[[], bytes]) -> Callable[[], bytes]:
        CASES[name] = Case(
            lambda folder: (folder / name).write_bytes(make()),
            wants,
            tuple(limits.items()),
        )
        return make

    return known


def pdf(
    contents: bytes,
    *more: bytes,
    box: str = "0 0 600 800",
    kids: Iterable[int] = (3,),
    resources: str = "",
) -> bytes:
    """Return a PDF of one page: object 4 has its contents, from 6 on are others."""
    pages = [f"{n} 0 R" for n in kids]
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{' '.join(pages)}]>>".encode(),
        f"<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Contents 4 0 R/Resources<</Font<<"
        f"/F1 5 0 R>>{resources}>>>>".encode(),
        stream(contents),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *more,
    ]
    made = bytearray(b"%PDF-1.5\n")
    starts = []
    for n, content in enumerate(objects, 1):
        starts.append(len(made))
        made += b"%d 0 obj\n%b\nendobj\n" % (n, content)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % at for at in starts)
    made += b"trailer<</Size %d/Root 1 0 R>>\n" % (len(objects) + 1)
    return bytes(made + b"startxref\n%d\n%%%%EOF" % start)


def stream(content: bytes, said: str = "") -> bytes:
    return b"<<%b/Length %d>>stream\n%b\nendstream" % (
        said.encode(),
        len(content),
        content,
    )


def text(said: str, size: int = 12) -> bytes:
    return f"BT /F1 {size} Tf 72 700 Td ({said}) Tj ET\n".encode()


def of_reportlab(encrypt: StandardEncryption | None = None, pages: int = 3) -> bytes:
    """Return a PDF of some pages with words, and a picture on the first."""
    made = BytesIO()
    canvas = Canvas(made, encrypt=encrypt, pageCompression=1)
    for n in range(1, pages + 1):
        for line in range(20):
            canvas.drawString(72, 700 - 20 * line, f"Line {line} of page {n} is red.")
        if n == 1:
            picture = Image.effect_noise((200, 150), 60).convert("RGB")
            canvas.drawImage(ImageReader(picture), 100, 100, 200, 150)
        canvas.showPage()
    canvas.save()
    return made.getvalue()


@case("user-password.pdf", "told")
def _() -> bytes:
    return of_reportlab(StandardEncryption("open sesame", "owner"))


@case("owner-password.pdf", "read")
def _() -> bytes:
    return of_reportlab(StandardEncryption("", "owner", canCopy=0))


@case("truncated.pdf", "read or told")
def _() -> bytes:
    made = of_reportlab(pages=30)
    return made[: len(made) * 6 // 10]


@case("no-xref.pdf", "read")
def _() -> bytes:
    made = of_reportlab()
    return made[: made.rindex(b"xref\n", 0, made.rindex(b"startxref"))]


@case("empty.pdf", "told")
def _() -> bytes:
    return b""


@case("html-inside.pdf", "read or told")
def _() -> bytes:
    return b"<!doctype html><html><body><p>It is not a PDF, it is a page.</body></html>"


@case("junk-before.pdf", "read or told")
def _() -> bytes:
    return b"junk\n" * 500 + of_reportlab()


@case("page-tree.pdf", "read or told")
def _() -> bytes:
    return pdf(text("A red page"), kids=(3, 99, 2, 4, 3))


def of_picture(side: int, bits: int, space: str) -> bytes:
    """Return a PDF with an empty picture of so many pixels a side."""
    packer, row = zlib.compressobj(9), bytes(side * bits // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    picture = stream(
        packed,
        f"/Type/XObject/Subtype/Image/Width {side}/Height {side}/ColorSpace/{space}"
        f"/BitsPerComponent {bits if bits == 1 else 8}/Filter/FlateDecode",
    )
    drawn = text("Figure 1: A large picture.") + b"q 400 0 0 400 72 280 cm /I Do Q"
    return pdf(drawn, picture, resources="/XObject<</I 6 0 R>>")


@case("20000-pixels.pdf", "read")
def _() -> bytes:
    return of_picture(20_000, 24, "DeviceRGB")


@case("30000-pixels-of-1-bit.pdf", "read")
def _() -> bytes:
    return of_picture(30_000, 1, "DeviceGray")


@case("broken-jpeg.pdf", "read and told")
def _() -> bytes:
    whole = BytesIO()
    Image.effect_noise((400, 300), 60).convert("RGB").save(whole, "JPEG")
    half = bytes(1000).join((whole.getvalue()[:2], whole.getvalue()[9000:12_000]))
    picture = stream(
        half,
        "/Type/XObject/Subtype/Image/Width 400/Height 300/ColorSpace/DeviceRGB"
        "/BitsPerComponent 8/Filter/DCTDecode",
    )
    drawn = text("Figure 1: A broken picture.") + b"q 400 0 0 300 72 280 cm /I Do Q"
    return pdf(drawn, picture, resources="/XObject<</I 6 0 R>>")


@case("nested-q.pdf", "read")
def _() -> bytes:
    return pdf(b"q " * 200_000 + text("A red page"))


@case("draws-itself.pdf", "read")
def _() -> bytes:
    form = stream(
        b"/X Do",
        "/Type/XObject/Subtype/Form/BBox[0 0 600 800]"
        "/Resources<</XObject<</X 6 0 R>>>>",
    )
    drawn = text("A red page") + b"/X Do"
    return pdf(drawn, form, resources="/XObject<</X 6 0 R>>")


@case("200000-points.pdf", "read")
def _() -> bytes:
    return pdf(text("A red page", 4000), box="0 0 200000 200000")


@case("100000-pages.pdf", "read and told")
def _() -> bytes:
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]>>"
    kids = (3, *range(6, 100_005))
    return pdf(text("A red page"), *[page] * 99_999, kids=kids)


@case("without-end.pdf", "read or told", page_s=2.0, file_s=4.0)
def _() -> bytes:
    """Return forms that each draw the next one ten times: 10^12 lines."""
    n = 12
    forms = [
        stream(
            b"/X Do " * 10 if at < n - 1 else b"0 0 m 9 9 l S " * 10,
            f"/Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<</XObject<</X "
            f"{7 + at} 0 R>>>>",
        )
        for at in range(n)
    ]
    drawn = text("A red page") + b"/X Do"
    return pdf(drawn, *forms, resources="/XObject<</X 6 0 R>>")


def of_word(said: str = "A red book.") -> bytes:
    made, document = BytesIO(), docx.Document()
    document.add_paragraph(said)
    document.save(made)
    return made.getvalue()


def of_epub(body: str, *, before: str = "") -> bytes:
    """Return a book of one chapter."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        packed.writestr(
            "META-INF/container.xml",
            '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:'
            'opendocument:xmlns:container"><rootfiles><rootfile full-path="b.opf" '
            'media-type="application/oebps-package+xml"/></rootfiles></container>',
        )
        packed.writestr(
            "b.opf",
            f'<?xml version="1.0"?>{before}<package version="3.0" xmlns="http://www.'
            'idpf.org/2007/opf"><metadata/><manifest><item id="c" href="c.xhtml" '
            'media-type="application/xhtml+xml"/></manifest><spine>'
            '<itemref idref="c"/></spine></package>',
        )
        packed.writestr(
            "c.xhtml",
            f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>',
        )
    return made.getvalue()


def changed(whole: bytes, entry: str, change: Callable[[bytes], bytes]) -> bytes:
    """Return a zip with one of its entries changed."""
    made = BytesIO()
    with (
        zipfile.ZipFile(BytesIO(whole)) as old,
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name == entry else data)
    return made.getvalue()


def added(whole: bytes, *entries: str) -> bytes:
    """Return a zip with entries more, which may be there already."""
    made = BytesIO(whole)
    with zipfile.ZipFile(made, "a") as packed:
        for name in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name
            packed.writestr(info, "stolen")
    return made.getvalue()


DOCUMENT = "word/document.xml"
BILLION = (
    '<!DOCTYPE x [<!ENTITY a "laugh laugh laugh laugh laugh laugh laugh">'
    + "".join(
        f'<!ENTITY {n} "{f"&{b};" * 10}">'
        for b, n in zip("abcdefgh", "bcdefghi")  # noqa: B905
    )
    + "]>"
)


@case("bomb.docx", "told")
def _() -> bytes:
    more = b"<w:p><w:r><w:t>" + b"A" * 360_000_000 + b"</w:t></w:r></w:p><w:sectPr"
    return changed(of_word(), DOCUMENT, lambda xml: xml.replace(b"<w:sectPr", more, 1))


@case("bomb.epub", "told")
def _() -> bytes:
    return of_epub(f"<p>{'A' * 360_000_000}</p>")


@case("leads-out.docx", "read or told")
def _() -> bytes:
    return added(of_word(), "../../stolen.txt", "/tmp/stolen.txt", "..\\stolen.txt")


@case("twice.docx", "read or told")
def _() -> bytes:
    whole = of_word()
    made = BytesIO(whole)
    warnings.simplefilter("ignore")  # of what this is
    with zipfile.ZipFile(BytesIO(whole)) as old, zipfile.ZipFile(made, "a") as packed:
        info = zipfile.ZipInfo("x")
        info.filename = DOCUMENT
        packed.writestr(info, old.read(DOCUMENT))
    return made.getvalue()


@case("entities.docx", "told")
def _() -> bytes:
    def change(xml: bytes) -> bytes:
        head, _, rest = xml.partition(b"?>")
        rest = rest.replace(b"A red book.", b"&i;")
        return head + b"?>" + BILLION.encode() + rest

    return changed(of_word(), DOCUMENT, change)


@case("entities.epub", "told")
def _() -> bytes:
    return of_epub("<p>A red book.</p>", before=BILLION)


@case("entity-of-a-file.epub", "told")
def _() -> bytes:
    outside = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    return of_epub("<p>A red book.</p>", before=outside)


@case("linked.docx", "read and told")
def _() -> bytes:
    made, document, picture = BytesIO(), docx.Document(), BytesIO()
    document.add_paragraph("A red book.")
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    for target in ("file:///etc/passwd", "http://127.0.0.1:9/x.png"):
        document.add_picture(picture)
        blip = next(document.inline_shapes[-1]._inline.iter("{*}blip"))
        embed = next(name for name in blip.keys() if name.endswith("embed"))  # noqa: SIM118
        del blip.attrib[embed]
        its = document.part.relate_to(target, RELATIONSHIP_TYPE.IMAGE, is_external=True)
        blip.set(embed.replace("embed", "link"), its)
    document.save(made)
    return made.getvalue()


@case("no-slides.pptx", "read or told")
def _() -> bytes:
    made = BytesIO()
    pptx.Presentation().save(made)
    return made.getvalue()


@case("divs.html", "told")
def _() -> bytes:
    return b"<div>" * 200_000 + b"A red page."


@case("brackets.html", "read or told")
def _() -> bytes:
    return b"<" * 10_000_000


@case("files.html", "read and told")
def _() -> bytes:
    return b"<p>A red page.<img src=file:///etc/passwd>"


@case("out-of-the-folder.html", "read and told")
def _() -> bytes:
    return b"<p>A red page.<img src=../../secret.png>"


@case("of-the-web.html", "read and told")
def _() -> bytes:
    return b"<p>A red page." + b"<img src=http://127.0.0.1:9/x.png>" * 3


@case("utf-7.html", "told")
def _() -> bytes:
    return b"<meta charset=utf-7><p>+ADw-script+AD4-A red page."


def of_mail(body: str = "A red mail.", **said: str) -> EmailMessage:
    mail = EmailMessage()
    for name, value in {"subject": "Red", "from": "a@b.c", **said}.items():
        mail[name] = value
    mail.set_content(body)
    return mail


@case("attachments.eml", "read or told")
def _() -> bytes:
    mail = of_mail()
    for n in range(1000):
        mail.add_attachment(f"Attachment {n} is red.", filename=f"{n}.txt")
    return bytes(mail)


@case("in-each-other.eml", "read and told")
def _() -> bytes:
    mail = of_mail("A red mail, the innermost.")
    for n in range(4):
        around = of_mail(f"A red mail around {n}.")
        around.add_attachment(mail)
        mail = around
    return bytes(mail)


@case("no-boundary.eml", "read or told")
def _() -> bytes:
    mail = of_mail()
    mail.add_attachment("More.", filename="a.txt")
    return bytes(mail).replace(b"multipart/mixed; boundary=", b"multipart/mixed; x=")


@case("truncated.heic", "told")
def _() -> bytes:
    return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\1\0meta" + bytes(200)


@case("5000-pages.tif", "read")
def _() -> bytes:
    made, first, *more = (
        BytesIO(),
        *(Image.new("L", (40, 40), n % 256) for n in range(5000)),
    )
    first.save(made, "TIFF", save_all=True, append_images=more)
    return made.getvalue()


def _linked_out(folder: Path) -> None:
    outside = folder.parent / f"outside-{folder.name}"
    outside.mkdir(exist_ok=True)
    (outside / "secret.md").write_text(SECRET)
    (folder / "link-out.md").symlink_to(outside / "secret.md")
    (folder / "folder-out").symlink_to(outside, target_is_directory=True)


def _loop(folder: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "loop.md").symlink_to(folder / "loop.md")


def _strange(folder: Path) -> None:
    (folder / "a\nb.md").write_text("A red page.")
    (folder / "c\nd.pdf").write_bytes(b"")


def _bytes(folder: Path) -> None:
    for name in (b"\xff\xfe.md", b"\xff\xfd.html", b"\xff\xfc.pdf"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"A red page.")


CASES |= {
    "link-out.md": Case(_linked_out, "read or told"),
    "loop.md": Case(_loop, "read or told"),
    "a\nb.md": Case(_strange, "read or told"),
    os.fsdecode(b"\xff\xfe.md"): Case(_bytes, "read or told"),
    "pipe.pdf": Case(lambda folder: os.mkfifo(folder / "pipe.pdf"), "read or told"),
}


def make_all(folder: Path, names: Iterable[str] = CASES) -> None:
    """Make each case in a folder of its own, by its number."""
    places = {name: n for n, name in enumerate(CASES)}
    for name in names:
        place = folder / f"{places[name]:02}"
        place.mkdir(parents=True)
        CASES[name].make(place)
