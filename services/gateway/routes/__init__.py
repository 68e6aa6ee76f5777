"""The routes, one module for each part of docs/http-api.md."""
