"""``python -m services.push``."""

from kernel.service import run
from services.push import bootstrap
from services.push.settings import Settings


def main() -> None:
    """Runs the service until it is told to stop."""
    run("push", bootstrap.build, Settings)


if __name__ == "__main__":
    main()
