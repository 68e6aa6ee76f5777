"""``python -m services.identity``."""

from kernel.service import run
from services.identity import bootstrap
from services.identity.settings import Settings


def main() -> None:
    """Runs the service until it is told to stop."""
    run("identity", bootstrap.build, Settings)


if __name__ == "__main__":
    main()
