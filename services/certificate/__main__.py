"""``python -m services.certificate``."""

from kernel.service import run
from services.certificate import bootstrap
from services.certificate.settings import Settings


def main() -> None:
    """Runs the service until it is told to stop."""
    run("certificate", bootstrap.build, Settings)


if __name__ == "__main__":
    main()
