"""A PDF's pages copied into a fresh file, for documents that can't carry a seal as they are: those that are signed
already (electronic licences are; a further revision would break that signature) and those whose structure only lenient
readers accept. The document itself is attached to the copy, with its own signature intact; ``same_pages`` shows that
the copy looks as the document does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

import numpy as np
import pypdfium2 as pdfium
from numpy.typing import NDArray
from pypdfium2 import raw

#: Dots per inch at which pages are compared: a line of small print is 10 pixels high.
_COMPARED_DPI: Final = 100
_MAX_PIXELS: Final = 40_000_000
#: Of 255 levels of a colour.
_SMOOTHING: Final = 96

Pixels = NDArray[np.uint8]


class NotReadable(ValueError):
    """Not even the lenient reader opens it."""


def copy_pages(document: bytes) -> bytes:
    """The pages as a new PDF: what annotations and form fields show becomes part of the page; the document's signatures,
    scripts, form and attachments stay behind.

    Raises:
        NotReadable: damaged, encrypted, without pages, or with an annotation that would be lost on the way.
    """
    with _opened(document) as source, _new() as target:
        for number in range(len(source)):
            before, page = _flattened(source, number)
            if not _alike(before, _drawn(page, annotations=False)):
                raise NotReadable("an annotation would be lost")
            page.close()
        target.import_pages(source)
        out = BytesIO()
        target.save(out)
        return out.getvalue()


def same_pages(document: bytes, sealed: bytes) -> bool:
    """Whether the pages of ``sealed``, the seal left out, look exactly as a copy of those of ``document`` does. Both are
    drawn by the same version of the same reader, so that a later version judges as this one does."""
    with _opened(document) as left, _opened(sealed) as right:
        if len(left) != len(right):
            return False
        for number in range(len(left)):
            (_, first), second = _flattened(left, number), right[number]
            if first.get_size() != second.get_size():
                return False
            if not np.array_equal(_drawn(first, annotations=False), _drawn(second, annotations=False)):
                return False
            first.close()
            second.close()
        return True


def _flattened(pdf: Any, number: int) -> tuple[Pixels, Any]:
    """What a page looks like, and the page with its annotations made part of it.

    It is drawn first always: that makes the reader think out the look of annotations that don't say it themselves, and
    only what has a look becomes part of the page.
    """
    page = pdf[number]
    before = _drawn(page, annotations=True)
    result = raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY)
    page.close()
    if result == raw.FLATTEN_FAIL:
        raise NotReadable("an annotation can't be made part of its page")
    return before, pdf[number]


def _drawn(page: Any, *, annotations: bool) -> Pixels:
    scale = _COMPARED_DPI / 72
    if page.get_width() * page.get_height() * scale * scale > _MAX_PIXELS:
        raise NotReadable("a page is too large")
    bitmap = page.render(scale=scale, may_draw_forms=annotations, draw_annots=annotations)
    try:
        pixels: Pixels = bitmap.to_numpy().copy()
        return pixels
    finally:
        bitmap.close()


def _alike(first: Pixels, second: Pixels) -> bool:
    """The same but for the smoothing of edges, which the reader does otherwise for annotations than for pages."""
    if first.shape != second.shape:
        return False
    apart = np.abs(first.astype(np.int16) - second.astype(np.int16)).max(axis=2) > _SMOOTHING
    return bool(apart.sum() <= apart.size // 10_000)


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    try:
        pdf = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        raise NotReadable(str(error)) from error
    try:
        pdf.init_forms()
        if len(pdf) < 1:
            raise NotReadable("no pages")
        yield pdf
    except pdfium.PdfiumError as error:
        raise NotReadable(str(error)) from error
    finally:
        pdf.close()


@contextmanager
def _new() -> Iterator[Any]:
    pdf = pdfium.PdfDocument.new()
    try:
        yield pdf
    finally:
        pdf.close()
