"""Writing differences that carry no meaning: width, blanks, brackets, dashes, dots, edge punctuation.

Folding merges only what cannot change meaning. It never merges glyphs that merely look alike: 己 is not 已,
O is not 0 (recognition.md, "Deciding").
"""

from __future__ import annotations

import re
import unicodedata

from kernel.values.problems import BadValue

# Characters that are invisible or mere formatting and that copying from PDF and web pages leaves behind.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
# Hyphens and dashes that prints and keyboards use for one another (minus, en and em dash, box drawing, …).
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2500\ufe63"), "-")
_DOTS = dict.fromkeys(map(ord, "\u2022\u2027\u30fb\u00b7\u2219\u22c5\ufe52"), "·")
_QUOTES = {ord(c): '"' for c in "“”„‟«»「」『』"} | {ord(c): "'" for c in "‘’‚‛"}
_SQUARE = {ord(c): "[" for c in "〔【［﹝〖"} | {ord(c): "]" for c in "〕】］﹞〗"}
_ROUND = {ord("["): "(", ord("]"): ")"}
_FOLDS = _DASHES | _DOTS | _QUOTES | _SQUARE
_BLANKS = re.compile(r"\s+")
# What a mark catches of its neighbourhood without being part of a value.
_EDGES = " \t\r\n。，,、;；:：.\"'|_*~`^·"
_PAIRS = {"(": ")", "[": "]"}
_CJK = re.compile(r"[\u3007\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")

MAX_LENGTH = 5000
"""No value of any kind is longer (characters); a business scope that fills a page has about 3000."""


def clean(text: str, limit: int = 300) -> str:
    """``text`` without invisible characters and outer blanks.

    Raises BadValue ``text.too_long`` beyond ``limit`` characters, ``text.control_character`` for control or
    direction-changing characters (they can make a page show another order than the one stored), ``text.empty``.
    """
    if len(text) > limit:
        raise BadValue("text.too_long", limit=str(limit))
    text = text.translate(_INVISIBLE)
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") and c not in "\t\r\n" for c in text):
        raise BadValue("text.control_character")
    text = text.strip()
    if not text:
        raise BadValue("text.empty")
    return text


def fold(text: str) -> str:
    """The form in which two writings of the same text are equal: NFKC, no blanks, one kind of dash, dot and quote."""
    # The folds run before NFKC (which would give some dots and brackets a third form) and again after it.
    text = unicodedata.normalize("NFKC", text.translate(_INVISIBLE).translate(_FOLDS)).translate(_FOLDS)
    # Without the blank before it a combining mark stands on the letter before: composed, or folding again would change the text.
    return unicodedata.normalize("NFC", _BLANKS.sub("", text))


def one_bracket(text: str) -> str:
    """Square brackets as round ones: the kind of bracket around a year in a number carries no meaning."""
    return text.translate(_ROUND)


def trim_edges(text: str) -> str:
    """``text`` without the punctuation that a mark caught of its neighbours, and without unpaired brackets."""
    while True:
        before = text
        text = text.strip(_EDGES)
        text = _drop_unpaired(text)
        if text == before:
            return text


def _drop_unpaired(text: str) -> str:
    for opening, closing in _PAIRS.items():
        if text.startswith(closing):
            return text[1:]
        if text.endswith(opening):
            return text[:-1]
        if text.startswith(opening) and text.count(opening) > text.count(closing):
            return text[1:]
        if text.endswith(closing) and text.count(closing) > text.count(opening):
            return text[:-1]
    return text


def has_chinese(text: str) -> bool:
    """Whether any character is a Chinese one."""
    return _CJK.search(text) is not None


def chinese_blanks_dropped(text: str) -> str:
    """Blanks beside a Chinese character dropped (they are layout), runs of others made one blank."""
    text = _BLANKS.sub(" ", text)
    kept = [c for i, c in enumerate(text) if c != " " or not (_wide(text[i - 1]) or _wide(text[i + 1]))]
    return "".join(kept)


def _wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"
