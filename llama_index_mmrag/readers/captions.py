"""Captions: which texts name a figure or a table, in the languages that we know."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Captioned: TypeAlias = Literal["figure", "table"]

FIGURE_WORDS = {
    "en": "Figure Fig. Fig Plate Chart Diagram Exhibit Illustration Image Map Photo "
    "Scheme",
    "de": "Abbildung Abb. Abb Bild Grafik Diagramm Karte Schaubild Foto Tafel",
    "fr": "Figure Graphique Schéma Carte Illustration Planche Photo",
    "es": "Figura Gráfico Gráfica Ilustración Imagen Mapa Foto",
    "it": "Figura Grafico Immagine Illustrazione Tavola",
    "pt": "Figura Gráfico Imagem Ilustração Mapa",
    "nl": "Figuur Afbeelding Afb. Grafiek Kaart",
    "sv da nb": "Figur Bild Billede Bilde Diagram",
    "fi": "Kuva Kuvio Kaavio",
    "pl": "Rysunek Rys. Rycina Ryc. Wykres",
    "cs sk": "Obrázek Obrázok Obr. Graf",
    "ro": "Figura Imaginea",
    "tr": "Şekil Resim Grafik",
    "ru uk bg": "Рисунок Рис. Рис Фигура Фиг. Схема",
    "el": "Σχήμα Εικόνα Διάγραμμα",
    "zh ja": "图 圖 図 插图 插圖",
    "ko": "그림 도표",
    "ar fa": "الشكل شكل شکل",
    "he": "איור תרשים",
    "hi": "चित्र",
    "vi": "Hình",
    "id ms": "Gambar Rajah",
    "th": "ภาพที่ รูปที่",
}
"""What a figure is called, by language."""

TABLE_WORDS = {
    "en": "Table Tab. Tab",
    "de": "Tabelle Tafel",
    "fr": "Tableau",
    "es": "Tabla Cuadro",
    "it": "Tabella",
    "pt": "Tabela Quadro",
    "nl da": "Tabel",
    "sv nb": "Tabell",
    "fi": "Taulukko",
    "pl": "Tabela Tablica",
    "cs sk": "Tabulka Tabuľka",
    "ro": "Tabelul",
    "tr": "Tablo Çizelge",
    "ru uk bg": "Таблица Таблиця Табл.",
    "el": "Πίνακας",
    "zh ja": "表 表格",
    "ko": "표",
    "ar fa": "الجدول جدول",
    "he": "טבלה לוח",
    "hi": "तालिका सारणी",
    "vi": "Bảng",
    "id ms": "Tabel Jadual",
    "th": "ตารางที่",
}
"""What a table is called, by language."""

_NUMBERED_FIRST = {
    "figure": "ábra attēls pav. irudia",
    "table": "táblázat tabula lentelė",
}
"""Likewise, where the number stands before: Hungarian, Latvian, Lithuanian, Basque."""

_BEFORE = r"(?:(?:Supplementary|Supplemental|Extended Data|Appendix|Online)\s+)?"
_NUMBER = (
    r"(?-i:(?:[A-Z]{1,2}[.-]?)?\d{1,4}(?:[.\-–‑]\d{1,4}){0,4}\s?[a-z]?|[IVXLC]{1,7}"
    r"|[一二三四五六七八九十]{1,4})(?!\w)"
)
# A sentence about it goes on in small letters: "Figure 3.2 shows ...".
_AFTER = r"(?P<after>\s*(?:[:：.．|)–—-](?:\s|$)|[:：]|$)|\s+(?P<next>\S))"
_DOTS = re.compile(r"(?:\.\s?){4,}|…{2,}")  # of a list of figures


def _either(words: str) -> str:
    listed = sorted({*words.split()}, key=len, reverse=True)
    return "|".join(map(re.escape, listed))


def _pattern(kind: str, words: dict[str, str]) -> re.Pattern[str]:
    first = rf"{_BEFORE}(?:{_either(' '.join(words.values()))})\s*{_NUMBER}"
    last = rf"{_NUMBER}\.?\s*(?:{_either(_NUMBERED_FIRST[kind])})"
    return re.compile(rf"[\s*_\[(【]*(?:{first}|{last})[\])】]?{_AFTER}", re.IGNORECASE)


_PATTERNS: dict[Captioned, re.Pattern[str]] = {
    "figure": _pattern("figure", FIGURE_WORDS),
    "table": _pattern("table", TABLE_WORDS),
}


def captioned_by(text: str) -> Captioned | None:
    """Return what a line or paragraph is the caption of, if it begins as one does.

    That is with the word, a number, and ":", "." or the like; or with what is no small
    letter, which counts beside a figure or table only.

    Example:
        >>> [captioned_by(text) for text in ("Figure 3.2: Pie", "Tab. IV", "图3 馅饼")]
        ['figure', 'table', 'figure']
        >>> captioned_by("Figure 3.2 shows a pie") is None
        True
    """
    text = text.replace("\xa0", " ")
    for kind, pattern in _PATTERNS.items():
        found = pattern.match(text)
        if found is None or _DOTS.search(text) or found[0].lstrip()[0].islower():
            continue
        follows = found["next"] or ""
        if not follows or not (follows.islower() or follows in ",;&/"):
            return kind
    return None
