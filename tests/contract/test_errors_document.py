"""The table of error codes is made from where they are defined."""

from ops.errors_document import DOCUMENT, render


def test_the_committed_page_is_current() -> None:
    assert DOCUMENT.read_text() == render(), "run: python -m ops.errors_document"
