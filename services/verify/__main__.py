"""``python -m services.verify``."""

from kernel.service import run
from services.verify import bootstrap
from services.verify.settings import Settings


def main() -> None:
    """Runs the service until it is told to stop."""
    run("verify", bootstrap.build, Settings)


if __name__ == "__main__":
    main()
