"""The recognition engines, by the names that settings use."""

from services.ocr.ports import RecognitionEngine

ENGINES = ("ppocr", "tesseract")


def create_engine(name: str) -> RecognitionEngine:
    """A new engine; its models load at first use. Raises ``ValueError`` for an unknown name."""
    if name == "ppocr":
        from services.ocr.engines.ppocr import PpOcr

        return PpOcr()
    if name == "tesseract":
        from services.ocr.engines.tesseract import Tesseract

        return Tesseract()
    raise ValueError(f"unknown recognition engine {name!r}; known are {', '.join(ENGINES)}")
