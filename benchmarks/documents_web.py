"""HTML, EPUB and Markdown of a book."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterable
from html import escape
from pathlib import Path

from documents_book import Block, Figure, Heading, Made, Paragraph, Table, pictures_of
from PIL import Image

_PRINT = """
@page { size: A4; margin: 2cm; }
body { font: 10pt/1.3 "Liberation Serif"; text-align: justify; hyphens: manual; }
figure { margin: 1em 0; break-inside: avoid; } img { width: 300px; display: block; }
table { border-collapse: collapse; break-inside: avoid; } td, th { padding: 2px 6px; }
figcaption, caption, table { font-size: 8pt; }
"""
SYLLABLE = re.compile(r"(?<=[a-z][aeiou])(?=[bcdfgklmnprst][a-z]{2})")
"""Where words may be divided, in these books."""


def html(
    blocks: list[Block], file: Path, *, hyphens: bool = False, is_print: bool = False
) -> Made:
    """Make a page of HTML with its pictures beside it.

    Args:
        blocks: What is in it, without footnotes.
        file: Where it goes.
        hyphens: Whether words have soft hyphens.
        is_print: Whether it is to be printed, and has nothing but the book.
    """
    title = next(block.text for block in blocks if isinstance(block, Heading))
    body = "\n".join(_elements(blocks, file.parent, hyphens=hyphens))
    if not is_print:
        body = (
            f"<nav><a href='#'>All books</a></nav><header>Our library</header>\n"
            f"<article>{body}</article>\n"
            f"<aside>Buy it now</aside><footer>Imprint</footer><script>var x</script>"
        )
    style = f"<style>{_PRINT}</style>" if is_print else ""
    file.write_text(
        f"<!DOCTYPE html><html lang=en><head><meta charset=utf-8>"
        f"<title>{escape(title)}</title>{style}</head><body>{body}</body></html>",
        encoding="utf-8",
    )
    return Made(file, blocks)


def _elements(
    blocks: Iterable[Block], folder: Path, *, hyphens: bool = False
) -> Iterable[str]:
    for block in blocks:
        if isinstance(block, Heading):
            yield f"<h{block.level}>{escape(block.text)}</h{block.level}>"
        elif isinstance(block, Paragraph):
            text = SYLLABLE.sub("\u00ad", block.text) if hyphens else block.text
            yield f"<p>{escape(text)}{_reference(block)}</p>"
        elif isinstance(block, Figure):
            shown = "".join(
                f'<img src="{copied(one, folder)}" alt="{escape(one.alt)}"/>'
                for one in pictures_of(block)
            )
            caption = f"<figcaption>{escape(block.caption)}</figcaption>"
            yield f"<figure>{shown}{caption}</figure>"
        else:
            yield _table(block)


def _reference(block: Paragraph) -> str:
    if not block.note:
        return ""
    n = block.number
    return f'<sup><a epub:type="noteref" id="r{n}" href="#n{n}">{n}</a></sup>'


def _table(table: Table) -> str:
    rows = []
    for y, row in enumerate(table.rows):
        tag = "td" if y else "th"
        cells = [
            f'<{tag}{_colspan(row, x)} style="border:1px solid">{escape(cell)}</{tag}>'
            for x, cell in enumerate(row)
            if cell
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><caption>{escape(table.caption)}</caption>{''.join(rows)}</table>"


def _colspan(row: tuple[str, ...], x: int) -> str:
    return ' colspan="2"' if row[x + 1 : x + 2] == ("",) else ""


def copied(figure: Figure, folder: Path) -> str:
    """Put a figure's picture into a folder; return its name."""
    assert figure.file is not None
    if not (folder / figure.file.name).exists():
        shutil.copyfile(figure.file, folder / figure.file.name)
    return figure.file.name


def epub(blocks: list[Block], file: Path) -> Made:
    """Make a book with a cover, a file a chapter and footnotes at their ends."""
    title = next(block.text for block in blocks if isinstance(block, Heading))
    folder = file.parent / "OEBPS"
    folder.mkdir(exist_ok=True)
    chapters: list[list[Block]] = [[]]
    for block in blocks:
        if isinstance(block, Heading) and block.level == 2:
            chapters.append([])
        chapters[-1].append(block)
    cover = Figure(file.parent / "OEBPS/cover.jpg", "", "The cover of this book")
    Image.radial_gradient("L").resize((300, 400)).save(str(cover.file))
    pages = {"cover": f'<p><img src="cover.jpg" alt="{cover.alt}"/></p>'}
    # In the order of the spine, and not of their names.
    for n, chapter in enumerate(chapters):
        notes = [b for b in chapter if isinstance(b, Paragraph) and b.note]
        pages[f"c{len(chapters) - n:03}"] = "\n".join(
            [
                *_elements(chapter, folder),
                *(
                    f'<aside epub:type="footnote" id="n{note.number}"><p>'
                    f"{note.number} {escape(note.note)}</p></aside>"
                    for note in notes
                ),
            ]
        )
    entries = "".join(
        f'<li><a href="{name}.xhtml">{escape(chapter[0].text)}</a></li>'
        for name, chapter in zip([*pages][1:], chapters, strict=True)
        if isinstance(chapter[0], Heading)
    )
    pages["nav"] = f'<nav epub:type="toc"><ol>{entries}</ol></nav>'
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        packed.writestr("META-INF/container.xml", _CONTAINER)
        packed.writestr("OEBPS/book.opf", _package(title, pages, folder))
        for name, body in pages.items():
            packed.writestr(f"OEBPS/{name}.xhtml", _XHTML.format(title, body))
        for picture in sorted(folder.iterdir()):
            packed.write(picture, f"OEBPS/{picture.name}")
    return Made(file, [cover, *blocks])


_CONTAINER = (
    '<?xml version="1.0"?><container version="1.0" '
    'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
    'full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>'
    "</rootfiles></container>"
)
_XHTML = (
    '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml" '
    'xmlns:epub="http://www.idpf.org/2007/ops"><head><title>{}</title></head>'
    "<body>{}</body></html>"
)


def _package(title: str, pages: Iterable[str], folder: Path) -> str:
    """Return what says of a book which files it has and in which order."""
    is_nav, is_cover = (f' properties="{of}"' for of in ("nav", "cover-image"))
    manifest = "".join(
        f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"'
        f"{is_nav if name == 'nav' else ''}/>"
        for name in sorted(pages)
    ) + "".join(
        f'<item id="p{n}" href="{picture.name}" media-type="image/jpeg"'
        f"{is_cover if picture.stem == 'cover' else ''}/>"
        for n, picture in enumerate(sorted(folder.iterdir()))
    )
    spine = "".join(f'<itemref idref="{name}"/>' for name in pages if name != "nav")
    return (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" '
        'version="3.0" unique-identifier="id"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">1'
        f"</dc:identifier><dc:title>{escape(title)}</dc:title><dc:language>en"
        "</dc:language><dc:creator>OpenStax</dc:creator></metadata>"
        f"<manifest>{manifest}</manifest><spine>{spine}</spine></package>"
    )


def markdown(blocks: list[Block], file: Path, *, alts: bool = True) -> Made:
    """Make a page of Markdown with its pictures beside it."""
    said = []
    for block in blocks:
        if isinstance(block, Heading):
            said.append(f"{'#' * block.level} {block.text}")
        elif isinstance(block, Paragraph):
            said.append(block.text)
        elif isinstance(block, Figure):
            name = copied(block, file.parent)
            alt, caption = (
                re.sub(r'[\[\]"\n]', " ", t) for t in (block.alt, block.caption)
            )
            said += [f'![{alt if alts else ""}]({name} "{caption}")', block.caption]
        else:
            head, *rows = [f"| {' | '.join(row)} |" for row in block.rows]
            line = "|---" * len(block.rows[0]) + "|"
            said += [block.caption, "\n".join([head, line, *rows])]
    file.write_text("\n\n".join(said), encoding="utf-8")
    return Made(file, blocks)
