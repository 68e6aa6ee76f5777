"""``python -m services.subject``."""

from kernel.service import run
from services.subject import bootstrap
from services.subject.settings import Settings


def main() -> None:
    """Runs the service until it is told to stop."""
    run("subject", bootstrap.build, Settings)


if __name__ == "__main__":
    main()
