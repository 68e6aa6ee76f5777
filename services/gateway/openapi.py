"""``python -m services.gateway.openapi > docs/openapi.json``: the public interface's document."""

import json

from services.gateway import app


def text() -> str:
    """The document as it is kept in docs/openapi.json."""
    return json.dumps(app.document(app.create(None)), ensure_ascii=False, indent=1, sort_keys=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
