"""The page of certificate types is made from the catalogue."""

from ops.catalogue_document import DOCUMENT, render


def test_the_committed_page_is_current() -> None:
    assert DOCUMENT.read_text() == render(), "run: python -m ops.catalogue_document"
