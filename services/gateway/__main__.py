"""``python -m services.gateway``."""

from kernel.service import run
from services.gateway import bootstrap
from services.gateway.settings import Settings


def main() -> None:
    """Runs the service until it is told to stop."""
    run("gateway", bootstrap.build, Settings)


if __name__ == "__main__":
    main()
