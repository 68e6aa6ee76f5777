"""What the whole suite costs beside its recognition: ``python -m tests.bench.bench_suite``.

Upload to light, over HTTP, beside the bare recognition of the same pages (the same engine, called directly, reading the page and the
marked regions); how soon a suite is ready; and how much memory it holds at rest.
"""

import io
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

import samples
from demo.company_key import CompanyKey
from infra.testing import RunningSuite, running_suite
from services.ocr.engines import create_engine
from tests.bench.bench_eventlog import line

ROUNDS = int(os.environ.get("YUNKU_BENCH_ROUNDS", "8"))


def _log_in(http: httpx.Client) -> dict[str, Any]:
    demo = http.get("/api/v1/demo").json()
    operator = demo["operator"]
    key = CompanyKey(Path(operator["key_file"]), operator["key_password"])
    challenge = http.post("/api/v1/ca-challenges", json={}).json()
    body = {
        "method": "ca",
        "challenge_id": challenge["id"],
        "certificate": key.pem_chain,
        "signature": key.sign_login(challenge["text"], str(http.base_url).rstrip("/")),
    }
    session = http.post("/api/v1/sessions", json=body).raise_for_status().json()
    http.headers["Authorization"] = f"Bearer {session['token']}"
    subject: dict[str, Any] = next(one for one in session["subjects"] if one["id"] == operator["subject_id"])
    picked = http.post("/api/v1/sessions/current/subject", json={"subject_id": subject["id"], "subject_type": "BIDDER"})
    http.headers["Authorization"] = f"Bearer {picked.raise_for_status().json()['token']}"
    return subject


def _upload_to_light(http: httpx.Client, sample: samples.Sample) -> tuple[float, float]:
    """(seconds from the upload's start to the fields recognised, from stating fields to the light)."""
    drafted = http.post("/api/v1/certificates", json={"type": sample.truth["type"], "mode": "SMART"}).raise_for_status().json()
    path = f"/api/v1/certificates/{drafted['id']}"
    started = time.perf_counter()
    http.put(f"{path}/document", files={"file": ("scan.png", sample.bytes, sample.media_type)}).raise_for_status()
    while http.get(path).json()["recognition"]["state"] != "done":
        time.sleep(0.02)
    recognised = time.perf_counter() - started
    values = {name: entry["value"] for name, entry in sample.truth["fields"].items()}
    marks = [{"field": name, "page": page, "box": list(box)} for name, (page, box) in sample.boxes().items()]
    started = time.perf_counter()
    http.put(f"{path}/fields", json={"fields": values, "absent": sample.truth["absent"]}).raise_for_status()
    http.put(f"{path}/marks", json={"marks": marks}).raise_for_status()
    http.post(f"{path}/verification", params={"wait": 30}).raise_for_status()
    while http.get(path).json()["light"] == "NONE":
        time.sleep(0.02)
    return recognised, time.perf_counter() - started


def _bare(engine: Any, sample: samples.Sample) -> float:
    """Seconds for the engine alone, on one thread: decode, read the page, read each marked region."""
    started = time.perf_counter()
    picture = np.asarray(Image.open(io.BytesIO(sample.bytes)).convert("RGB"))
    engine.read_page(picture)
    for _, box in sample.boxes().values():
        engine.read_region(picture, tuple(box))
    return time.perf_counter() - started


def memory(suite: RunningSuite) -> float:
    """Proportional set size of the supervisor and all its descendants, in MB."""
    children: dict[int, list[int]] = {}
    for row in subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.splitlines():
        pid, parent = map(int, row.split())
        children.setdefault(parent, []).append(pid)
    total, waiting = 0, [int(suite.state["supervisor"])]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next((int(row.split()[1]) for row in rollup.splitlines() if row.startswith("Pss:")), 0)
    return total / 1024


def main() -> None:
    started = time.perf_counter()
    with running_suite("all") as suite:
        ready = time.perf_counter() - started
        line("suite ready, first start (databases are made)", f"{ready:.1f} s")
        suite.stop()
        started = time.perf_counter()
        suite.start()
        line("suite ready, second start", f"{time.perf_counter() - started:.1f} s", "to reach 10 s")
        time.sleep(5)
        line("suite at rest, memory (PSS)", f"{memory(suite):.0f} MB", "to reach 1024")
        with httpx.Client(base_url=suite.http_url, timeout=90) as http:
            subject = _log_in(http)
            pages = [
                samples.generate(
                    "business_license",
                    seed=500 + number,
                    degradation="good",
                    format="png",
                    overrides={"company_name": subject["name"], "uscc": subject["uscc"]},
                )
                for number in range(4)
            ]
            _upload_to_light(http, pages[0])  # loads the models
            spans = [_upload_to_light(http, pages[number % len(pages)]) for number in range(ROUNDS)]
        line("suite after recognition, memory (PSS)", f"{memory(suite):.0f} MB")
    engine = create_engine("ppocr")
    _bare(engine, pages[0])
    bare = statistics.median(_bare(engine, pages[number % len(pages)]) for number in range(ROUNDS))
    whole = statistics.median(first + second for first, second in spans)
    line("upload to recognised fields, p50", f"{statistics.median(first for first, _ in spans):.2f} s")
    line("stated and marked to light, p50", f"{statistics.median(second for _, second in spans):.2f} s")
    line("upload to light, p50", f"{whole:.2f} s", f"{whole / bare:.2f} x bare", "to reach 1.2")
    line("bare recognition of the same page, p50", f"{bare:.2f} s")


if __name__ == "__main__":
    main()
