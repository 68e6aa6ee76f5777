"""Which of the formats that Yunku takes a file is, by its first bytes. Standard library only: safe anywhere."""

from typing import Final

PDF: Final = "application/pdf"
JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
TIFF: Final = "image/tiff"

_MAGIC: Final = (
    (b"%PDF-", PDF),
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
)


def sniff(data: bytes) -> str | None:
    """The media type, None for anything else.

    The signature must be the very first bytes. PDF readers forgive up to 1,024 bytes before it, which is how a file
    is a GIF or a page of HTML to one reader and a PDF to another; such files are refused.
    """
    for magic, media_type in _MAGIC:
        if data.startswith(magic):
            return media_type
    return None
