"""What importing and exporting many entries takes: ``python -m tests.bench.bench_transfer``.

One archive of rows with a document each, from the request to the last row's result; then the company's export, to the archive and its
check. Recognition of the documents runs beside it, as it does for whoever imports.
"""

import asyncio
import csv
import io
import os
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from infra.testing import running_suite
from ops.verify_export import verify_export
from tests.bench.bench_eventlog import line
from tests.e2e.http_world import Api, World

ROWS = int(os.environ.get("YUNKU_BENCH_ROWS", "200"))


def _document(number: int) -> bytes:
    """A picture of about 200 KB, different for each number."""
    noise = np.random.default_rng(number).integers(0, 256, (400, 500), dtype=np.uint8)
    page = np.full((1400, 1000), 255, dtype=np.uint8)
    page[:400, :500] = noise
    made = io.BytesIO()
    Image.fromarray(page).save(made, "PNG")
    return made.getvalue()


def _archive() -> bytes:
    rows, made = io.StringIO(), io.BytesIO()
    table = csv.writer(rows)
    table.writerow(("row_key", "type", "document", "description", "occurred_on"))
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(ROWS):
            table.writerow((f"K-{number}", "litigation_case", f"{number}.png", f"第{number}件", "2026-01-05"))
            archive.writestr(f"documents/{number}.png", _document(number))
        archive.writestr("entries.csv", rows.getvalue())
    return made.getvalue()


def _until(api: Api, path: str) -> Any:
    while (now := api.ask("GET", path, params={"limit": 0} if "imports" in path else None))["state"] == "waiting":
        time.sleep(0.1)
    return now


def _imported(api: Api, data: bytes) -> tuple[float, Any]:
    started = time.perf_counter()
    asked = api.ask("POST", "/api/v1/imports", 202, files={"file": ("a.zip", data, "application/zip")})
    report = _until(api, f"/api/v1/imports/{asked['id']}")
    return time.perf_counter() - started, report


def main() -> None:
    data = _archive()
    with running_suite("all") as suite, tempfile.TemporaryDirectory() as directory:
        world = World(suite)
        api = world.company()
        seconds, report = _imported(api, data)
        assert report["created"] == ROWS, report
        line(f"import of {ROWS} rows with documents ({len(data) / 1e6:.0f} MB)", f"{seconds:.1f} s, {ROWS / seconds:.1f} rows/s")
        seconds, report = _imported(api, data)
        assert report["unchanged"] == ROWS, report
        line("the same archive again", f"{seconds:.1f} s")
        started = time.perf_counter()
        asked = api.ask("POST", "/api/v1/exports", 202)
        made = _until(api, f"/api/v1/exports/{asked['id']}")
        seconds = time.perf_counter() - started
        line(f"export of {made['certificates']} entries ({made['size'] / 1e6:.0f} MB, {made['events']} events)", f"{seconds:.1f} s")
        path = Path(directory) / "export.zip"
        path.write_bytes(api.send("GET", f"/api/v1/exports/{asked['id']}/archive").content)
        started = time.perf_counter()
        assert asyncio.run(verify_export(path, b"", made["manifest_sha256"])) == 0
        line("yunku verify-export of it", f"{time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
