"""Settings: everything that may differ between places where a service runs, from the environment and nowhere else.

The variable of a setting is ``YUNKU_`` and its name in capitals (``grpc_port``: ``YUNKU_GRPC_PORT``). A service adds
its own by subclassing :class:`KernelSettings` as ``Settings`` in its ``settings.py``. The OpenTelemetry exporter reads
the standard variables instead (``OTEL_EXPORTER_OTLP_ENDPOINT`` and its like).

``python -m kernel.settings`` writes ``docs/settings.md`` from these classes; with ``--check`` it says whether it is
current (exit code 1 if not).
"""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticUndefined

PREFIX: Final = "YUNKU_"


class SettingsError(Exception):
    """The environment doesn't make usable settings; the message names each variable (and never shows its value)."""


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


class KernelSettings(BaseModel):
    """What every service needs. Times are in seconds, sizes in bytes unless said otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    service: str = Field(description="Name of this service; set by the service itself.", pattern=r"^[a-z][a-z0-9_]{0,31}$")
    profile: Literal["development", "production"] = Field(
        default="production",
        description="`development` adds demo data and shows phone codes in replies; never on a real register.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severe level that is logged.")
    data: Path = Field(default=Path(".yunku"), description="Directory under which this service keeps local files (job directories).")

    bind_host: str = Field(default="127.0.0.1", description="Address that gRPC and operations listen on; loopback unless in a container.")
    grpc_port: int = Field(default=0, ge=0, le=65535, description="Port of the service's gRPC server; 0 picks a free one.")
    ops_port: int = Field(default=0, ge=0, le=65535, description="Port of `/healthz`, `/readyz` and `/metrics`; 0 picks a free one.")
    peers: dict[str, str] = Field(
        default_factory=dict,
        description="Where the other services answer gRPC: `identity=127.0.0.1:7101,subject=127.0.0.1:7102`.",
    )
    rpc_private_key_file: Path | None = Field(
        default=None,
        description="Ed25519 key (PKCS#8 PEM) that proves who calls; without it no call can be made.",
    )
    rpc_public_keys_dir: Path | None = Field(
        default=None,
        description="Directory of the services' public keys, `<service>.pem`; without it every call is refused.",
    )
    rpc_timeout_seconds: float = Field(
        default=10.0, gt=0, le=60, description="Deadline of a call to another service, unless it sets its own."
    )
    rpc_deadline_cap_seconds: float = Field(
        default=60.0, gt=0, le=600, description="Longest that a call may run here, whatever the caller allows."
    )
    rpc_message_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, description="Largest gRPC message, in bytes, either way.")
    rpc_concurrency: int = Field(default=256, ge=1, description="Calls that run at once; more are refused as unavailable.")

    database_url: str = Field(default="", description="libpq URL of the service's database, for its own role; empty for none.", repr=False)
    database_pool_size: int = Field(default=10, ge=1, le=200, description="Connections to the database at most.")
    database_pool_min_size: int = Field(default=1, ge=0, le=200, description="Connections to the database held while idle.")
    database_wait_seconds: float = Field(default=5.0, gt=0, description="How long a call waits for a connection before it is unavailable.")

    nats_url: str = Field(default="", description="NATS servers, comma-separated (`nats://127.0.0.1:4222`); empty for none.")
    nats_credentials: Path | None = Field(default=None, description="NATS credentials file (JWT and nkey) of this service.")

    s3_endpoint: str = Field(default="", description="Object store, as URL (`http://127.0.0.1:8333`); empty for none.")
    s3_access_key: str = Field(default="", description="Access key of the object store.", repr=False)
    s3_secret_key: str = Field(default="", description="Secret key of the object store.", repr=False)
    s3_region: str = Field(default="us-east-1", description="Region that requests to the object store are signed for.")

    privacy_key: str = Field(
        default="",
        description="Master key for personal data, 32 bytes in base64; wraps the key of each person.",
        repr=False,
    )
    shutdown_grace_seconds: float = Field(
        default=10.0,
        ge=0,
        le=300,
        description="How long running calls and loops may finish after SIGTERM before they are cancelled.",
    )

    @field_validator("peers", mode="before")
    @classmethod
    def _parse_peers(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        peers: dict[str, str] = {}
        for entry in filter(None, (part.strip() for part in value.split(","))):
            name, separator, address = entry.partition("=")
            if not separator or not name or ":" not in address:
                raise ValueError(f"'{entry}' is not of the form service=host:port")
            peers[name] = address
        return peers

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **fixed: object) -> Self:
        """Reads the settings from ``environ`` (default: the process's); ``fixed`` are set by the program itself.

        Empty variables count as not set. Raises SettingsError naming every variable that is wrong or missing.
        """
        source = os.environ if environ is None else environ
        values: dict[str, object] = {name: source[variable(name)] for name in cls.model_fields if source.get(variable(name), "") != ""}
        try:
            return cls.model_validate(values | fixed)
        except ValidationError as error:
            lines = (f"{variable(str(found['loc'][0]))}: {found['msg']}" for found in error.errors(include_input=False))
            raise SettingsError("unusable settings\n  " + "\n  ".join(lines)) from None

    @property
    def nats_servers(self) -> list[str]:
        """The servers of ``nats_url``."""
        return [server for server in (part.strip() for part in self.nats_url.split(",")) if server]


def _type_name(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _rows(cls: type[KernelSettings], inherited: frozenset[str] = frozenset()) -> list[str]:
    rows = []
    for name, field in cls.model_fields.items():
        if name in inherited:
            continue
        kind = _type_name(field.annotation).replace("pathlib._local.", "").replace("pathlib.", "").replace("|", "\\|")
        if field.default is PydanticUndefined:
            default = "" if field.default_factory is not None else "(required)"
        else:
            default = "" if field.default in (None, "") else f"`{field.default}`"
        rows.append(f"| `{variable(name)}` | `{kind}` | {default} | {field.description or ''} |")
    return rows


_HEAD: Final = ["| variable | type | default | meaning |", "| --- | --- | --- | --- |"]


def document(root: Path) -> str:
    """The text of docs/settings.md for the services under ``root``/services; ValueError where a description lacks."""
    parts = [
        "# Settings",
        "",
        "Generated by `python -m kernel.settings` from the settings classes; don't edit. Every service reads its",
        "settings from the environment at start and stops with a message that names the variable when one is wrong.",
        "Times are in seconds, sizes in bytes. Traces go out when `OTEL_EXPORTER_OTLP_ENDPOINT` is set (OTLP on HTTP;",
        "the standard `OTEL_*` variables apply).",
        "",
        "## Every service",
        "",
        *_HEAD,
        *_rows(KernelSettings),
    ]
    kernel_fields = frozenset(KernelSettings.model_fields)
    for path in sorted(root.glob("services/*/settings.py")):
        module = importlib.import_module(f"services.{path.parent.name}.settings")
        settings: type[KernelSettings] = module.Settings
        missing = [name for name, field in settings.model_fields.items() if not field.description]
        if missing:
            raise ValueError(f"{path}: settings without description: {', '.join(missing)}")
        rows = _rows(settings, kernel_fields)
        if rows:
            parts += ["", f"## {path.parent.name}", "", *_HEAD, *rows]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Writes docs/settings.md, or checks it with ``--check``; returns the exit code."""
    root = Path(__file__).parent.parent
    target = root / "docs" / "settings.md"
    text = document(root)
    if "--check" in sys.argv[1:]:
        current = target.exists() and target.read_text("utf-8") == text
        print("docs/settings.md is current" if current else "docs/settings.md is stale: run python -m kernel.settings")
        return 0 if current else 1
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    # Through the imported module, so that the services' classes derive from the same KernelSettings.
    from kernel import settings as _imported

    sys.exit(_imported.main())
