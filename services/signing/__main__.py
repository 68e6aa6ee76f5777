"""``python -m services.signing``."""

from kernel.service import run
from services.signing import bootstrap
from services.signing.settings import Settings


def main() -> None:
    """Runs the service until it is told to stop."""
    run("signing", bootstrap.build, Settings)


if __name__ == "__main__":
    main()
