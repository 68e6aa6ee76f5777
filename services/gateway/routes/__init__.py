"""The routes, one module for each part of docs/http-api.md."""

from typing import Final

#: Where the public interface begins.
API: Final = "/api/v1"
