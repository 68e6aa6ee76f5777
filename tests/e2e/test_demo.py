"""The demo against a suite of its own: what a new user runs first must end as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from infra.testing import RunningSuite

ROOT = Path(__file__).resolve().parents[2]
#: Recognition takes half a minute on a busy machine, and two whole runs are made here.
pytestmark = pytest.mark.timeout(1500)
LIGHT = re.compile(r"light: ● (\w+)")


def run_demo(url: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as a user does, in a process of its own."""
    return subprocess.run([sys.executable, "-m", "demo", "--url", url], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def demo(suite: RunningSuite) -> str:
    """The demo's output after a run that succeeded."""
    done = run_demo(suite.http_url)
    assert done.returncode == 0, done.stdout + done.stderr + suite.log()
    return done.stdout


def test_the_three_runs_end_green_yellow_and_red(demo: str) -> None:
    assert LIGHT.findall(demo) == ["GREEN", "YELLOW", "RED"]


def test_both_seals_hold_before_pyhanko_and_poppler(demo: str) -> None:
    assert demo.count("pyHanko: valid, trusted, unmodified") == 2
    if any(os.access(Path(folder) / "pdfsig", os.X_OK) for folder in os.get_exec_path()):
        assert demo.count("pdfsig: Signature is Valid, total document signed") == 2


def test_the_reviews_came_from_a_system_and_from_a_person(demo: str) -> None:
    assert re.search(r"push record: no\. 1 approved 信息一致，同意", demo)
    assert re.search(r"push record: no\. 1 rejected 发证日期与证照不一致", demo)
    assert demo.count("unique code 唯一标识码") == 2  # the RED one got none


def test_every_certificates_history_is_shown_from_the_log(demo: str) -> None:
    assert demo.count("the operation record 操作记录") == 3
    for event in ("CertificateDrafted", "Submitted", "PushRequested"):
        assert event in demo


def test_it_can_be_run_again_on_the_same_suite(demo: str, suite: RunningSuite) -> None:
    assert demo
    again = run_demo(suite.http_url)
    assert again.returncode == 0, again.stdout + again.stderr


def test_it_fails_with_a_reason_where_no_suite_answers() -> None:
    done = run_demo("http://127.0.0.1:9")
    assert done.returncode == 1
    assert "is the suite running?" in done.stderr


def test_the_demo_imports_nothing_of_the_suite() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import sys, demo.__main__; print('\\n'.join(sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    packages = {name.split(".")[0] for name in listed.stdout.split()}
    assert "demo" in packages
    assert packages.isdisjoint({"services", "kernel", "infra", "catalogue", "ops", "yunku"})


def test_demo_data_is_for_the_development_profile(suite: RunningSuite) -> None:
    told = httpx.get(f"{suite.http_url}/api/v1/demo", trust_env=False).json()
    assert set(told) >= {"operator", "reviewer", "administrator", "domains"}
    assert Path(told["operator"]["key_file"]).is_absolute()
    assert all(Path(domain["credentials_file"]).is_absolute() for domain in told["domains"])
