"""What operators see: logs (structlog), traces (OpenTelemetry) and metrics (Prometheus)."""
