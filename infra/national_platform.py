"""The national platform's counterpart for development: a small HTTP server that always knows the same of the same company and person.

It serves the format that the certificate service's connector asks for (services/certificate/takeover.py); the real platform's own isn't
public. What it tells is invented and follows from the USCC or the ID number alone. Never part of a real register.

    python -m infra.national_platform        (YUNKU_NATIONAL_PLATFORM_PORT, YUNKU_BIND_HOST)

    POST /v1/qualifications {"uscc", "name"}               POST /v1/registrations {"name", "id_no", "employer"}
    PUT  /dev/fault {"fault": "slow", "times": 2}          how the next answers fail; "none" ends it   (FAULTS)
"""

import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import catalogue
from catalogue import CertificateType
from infra import devca
from samples.facts import words

PORT: Final = 7155
#: Questions are short.
MAX_QUESTION: Final = 64 * 1024
#: How an answer can fail: too late, in drips, 500, 503 with Retry-After, no JSON, larger than anybody reads, elsewhere, another format,
#: a closed connection, a refusal, and good rows among wrong ones.
FAULTS: Final = (
    "slow", "drip", "error", "busy", "garbage", "too_large", "redirect", "other_format", "too_many", "cut", "refused", "wrong_rows",
)  # fmt: skip
SLOW_SECONDS: Final = 30.0

_AUTHORITIES: Final = ("中华人民共和国住房和城乡建设部", "辽宁省住房和城乡建设厅", "沈阳市城乡建设局")


def _types(field: str) -> list[CertificateType]:
    return [kind for kind in catalogue.load().types if kind.has_field(field)]


def platform_name(kind: CertificateType, qualification: str) -> str:
    """A qualification as the platform writes it: certificate, category and speciality (manual 三 (二) 1)."""
    for ending in ("施工总承包", "专业承包"):
        if qualification.endswith(ending) and qualification != ending:
            return f"{kind.label}-{ending}资质-{qualification.removesuffix(ending)}"
    category = "综合" if "综合" in qualification else "行业" if "行业" in qualification else "专项" if "专项" in qualification else "专业"
    return f"{kind.label}-{category}资质-{qualification}"


def qualifications(uscc: str, name: str) -> list[dict[str, Any]]:
    """A company's qualifications: of every kind for the demo company, a few for others."""
    companies = {code: known for known, code in (devca.DEMO_COMPANY, devca.SECOND_COMPANY)}
    rng = random.Random(f"qualifications:{uscc}")  # noqa: S311 (invented data, the same each time)
    kinds = _types("qualification_name")
    first, *others = kinds
    if uscc == devca.DEMO_COMPANY[1]:
        held = [(first, "建筑工程施工总承包"), (first, "地基基础工程专业承包"), (first, "施工劳务")]
        held += [(kind, _choice(rng, kind, "qualification_name")) for kind in others]
    else:
        held = [(first, _choice(rng, first, "qualification_name"))]
        held += [(kind, _choice(rng, kind, "qualification_name")) for kind in rng.sample(others, rng.randint(0, 2))]
    rows = []
    for number, (kind, qualification) in enumerate(held):
        levels: list[str] = words()["qualifications"].get(qualification) or _levels(kind)
        issued = date(2023, 1, 1) + timedelta(days=rng.randrange(1000))
        rows.append(
            {
                "id": f"zz-{uscc}-{number + 1}",
                "uscc": uscc,
                "company_name": companies.get(uscc, name),
                "name": platform_name(kind, qualification),
                "level": rng.choice(levels) if levels else None,
                "certificate_no": f"D2210{rng.randrange(10**5):05}",
                "issuing_authority": rng.choice(_AUTHORITIES),
                "issued_on": issued.isoformat(),
                "valid_until": issued.replace(year=issued.year + 5, day=min(issued.day, 28)).isoformat(),
                "primary": number == 0,
            }
        )
    return rows


def registrations(name: str, id_no: str, employer: str) -> list[dict[str, Any]]:
    """A person's registrations, one or two; none for ID numbers that end with 0."""
    if id_no.endswith("0"):
        return []
    rng = random.Random(f"registrations:{id_no}")  # noqa: S311
    rows = []
    for number, kind in enumerate(rng.sample(_types("registration_no"), rng.choice((1, 2)))):
        issued = date(2024, 1, 1) + timedelta(days=rng.randrange(700))
        rows.append(
            {
                "id": f"zc-{rng.randrange(10**12):012}-{number + 1}",
                "name": name,
                "certificate": kind.label,
                "level": rng.choice(_levels(kind) or [None]),
                "speciality": _choice(rng, kind, "speciality") if kind.has_field("speciality") else None,
                "registration_no": f"辽{rng.randrange(10**13):013}",
                "employer": employer,
                "issuing_authority": _AUTHORITIES[0],
                "issued_on": issued.isoformat(),
                "valid_until": issued.replace(year=issued.year + 3, day=min(issued.day, 28)).isoformat(),
            }
        )
    return rows


def _choice(rng: random.Random, kind: CertificateType, field: str) -> str:
    return rng.choice(sorted(kind.field(field).choices))


def _levels(kind: CertificateType) -> list[str]:
    choices = list(kind.field("level").choices) if kind.has_field("level") else []
    return [level for level in choices if level in ("一级", "二级", "甲级", "乙级")] or choices


class Counterpart(ThreadingHTTPServer):
    """The server; ``fail`` has the next answers fail."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self._lock = threading.Lock()
        self._fault, self._times = "", 0
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fail(self, fault: str, times: int = 10**9) -> None:
        """Has the next ``times`` answers fail so; ``none`` ends it. Raises ValueError for an unknown fault."""
        if fault not in (*FAULTS, "none"):
            raise ValueError(fault)
        with self._lock:
            self._fault, self._times = fault, 0 if fault == "none" else times

    def next_fault(self) -> str:
        """How the answer that is due fails; empty: not at all."""
        with self._lock:
            self.asked += 1
            if self._times <= 0:
                return ""
            self._times -= 1
            return self._fault


class _Handler(BaseHTTPRequestHandler):
    server: Counterpart
    timeout = 60
    _QUESTIONS: Final[dict[str, Callable[[dict[str, str]], list[dict[str, Any]]]]] = {
        "/v1/qualifications": lambda asked: qualifications(asked["uscc"], asked["name"]),
        "/v1/registrations": lambda asked: registrations(asked["name"], asked["id_no"], asked["employer"]),
    }

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: questions are about persons."""

    def do_PUT(self) -> None:
        asked = self._question()
        if self.path != "/dev/fault" or asked is None:
            return self._answer(404, b"{}")
        try:
            self.server.fail(str(asked.get("fault")), int(asked.get("times", 10**9)))
        except ValueError:
            return self._answer(422, b"{}")
        return self._answer(200, b"{}")

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/healthz" else 404, b"{}")

    def do_POST(self) -> None:
        asked, known = self._question(), self._QUESTIONS.get(self.path)
        if asked is None or known is None:
            return self._answer(404, b"{}")
        fault = self.server.next_fault()
        try:
            rows = known(asked)
        except (KeyError, TypeError):
            return self._answer(400, b"{}")
        return self._fail(fault, rows) if fault else self._told(rows)

    def _question(self) -> dict[str, Any] | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_QUESTION:
            return None
        try:
            asked = json.loads(self.rfile.read(int(length)))
        except ValueError:
            return None
        return asked if isinstance(asked, dict) else None

    def _told(self, rows: list[Any]) -> None:
        self._answer(200, json.dumps({"items": rows}, ensure_ascii=False).encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Type": "application/json", "Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, fault: str, rows: list[Any]) -> None:
        match fault:
            case "slow":
                time.sleep(SLOW_SECONDS)
                self._told(rows)
            case "drip":
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                until = time.monotonic() + SLOW_SECONDS
                while time.monotonic() < until:
                    self.wfile.write(b" ")
                    time.sleep(0.1)
            case "error":
                self._answer(500, b"<html>internal</html>", Content_Type="text/html")
            case "busy":
                self._answer(503, b"{}", Retry_After="77")
            case "garbage":
                self._answer(200, b"<html>\xff\xfe maintenance</html>", Content_Type="text/html")
            case "too_large":
                self._answer(200, b'{"items": [' + b" " * (8 * 1024 * 1024) + b"]}")
            case "redirect":
                self._answer(302, b"", Location=f"{self.server.url}{self.path}")
            case "other_format":
                self._answer(200, json.dumps({"data": {"rows": rows}}).encode())
            case "too_many":
                self._told([{"id": str(number)} for number in range(10_000)])
            case "cut":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b'{"items": [')
                self.close_connection = True
            case "refused":
                self._answer(403, b"{}")
            case "wrong_rows":
                self._told([*rows, None, {"id": "x"}, *_wrong(rows)])

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client gave up, as it should with some of these
            super().handle()


def _wrong(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first row again: repeated, another's, of an unknown kind, with a day that isn't one, with a level that isn't one."""
    first = rows[0] if rows else {}
    unknown = {"name": "无此证书-专业资质-无"} if "uscc" in first else {"certificate": "无此证书"}
    return [
        first,
        first | {"id": "w-1", "uscc": devca.SECOND_COMPANY[1][:-1] + "0", "name": "他人"},
        first | {"id": "w-2"} | unknown,
        first | {"id": "w-3", "valid_until": "2026-02-30"},
        first | {"id": "w-4", "level": "最高级"},
    ]


def main() -> None:
    """Serves until it is stopped."""
    host = os.environ.get("YUNKU_BIND_HOST") or "127.0.0.1"
    Counterpart(host, int(os.environ.get("YUNKU_NATIONAL_PLATFORM_PORT") or PORT)).serve_forever()


if __name__ == "__main__":
    main()
