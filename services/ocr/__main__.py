"""``python -m services.ocr``."""

from kernel.service import run
from services.ocr import bootstrap
from services.ocr.settings import Settings


def main() -> None:
    """Runs the service until it is told to stop."""
    run("ocr", bootstrap.build, Settings)


if __name__ == "__main__":
    main()
