"""Imports and exports over HTTP: many entries at once into the register, a company's whole record out of it."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from infra.testing import RunningSuite
from ops.verify_export import verify_export
from services.certificate.transfers import container, record
from tests.e2e.http_world import Api, World, eventually

Json = dict[str, Any]
#: A type without verification: its light doesn't matter here.
LAWSUIT = "litigation_case"


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def png(shade: int = 200) -> bytes:
    made = io.BytesIO()
    Image.new("L", (60, 80), shade).save(made, "PNG")
    return made.getvalue()


def table(*rows: tuple[str, ...]) -> bytes:
    made = io.StringIO()
    csv.writer(made).writerows(rows)
    return made.getvalue().encode("gb18030")


def archive(rows: bytes, files: dict[str, bytes] | None = None) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("entries.csv", rows)
        for name, data in (files or {}).items():
            written.writestr(name, data)
    return made.getvalue()


def strange_root() -> bytes:
    """A root that nobody's certificate chains to."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), datetime(2020, 1, 1), datetime(2040, 1, 1))
    signed = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def imported(api: Api, data: bytes) -> Json:
    """The import's report at its end."""
    asked = api.ask("POST", "/api/v1/imports", 202, files={"file": ("证照.zip", data, "application/zip")})

    def done() -> Json | None:
        now = api.ask("GET", f"/api/v1/imports/{asked['id']}")
        return now if now["state"] != "waiting" else None

    return eventually(done)


HEAD = ("行标识", "证照类型", "电子件", "案件简要情况[description]", "日期[occurred_on]")


def test_rows_are_imported_each_by_itself_and_never_twice(world: World) -> None:
    api = world.company()
    rows = [
        HEAD,
        ("A-1", LAWSUIT, "判决书.png", "买卖合同纠纷", "2026年1月5日"),
        ("A-2", LAWSUIT, "", "=HYPERLINK(1)", "not a date"),
        ("A-3", "no_such_type", "", "x", "2026-01-05"),
        ("A-4", LAWSUIT, "missing.pdf", "租赁合同纠纷", "2026-02-05"),
        ("", LAWSUIT, "", "=1+1", "2026-03-05"),
    ]
    files = {"documents/判决书.png": png()}
    report = imported(api, archive(table(*rows), files))
    assert [report[name] for name in ("state", "rows", "created", "failed")] == ["done", 5, 2, 3]
    first, second, third, fourth, fifth = report["items"]
    assert (first["outcome"], first["key"], fifth["outcome"], fifth["key"]) == ("created", "A-1", "created", None)
    (wrong,) = second["errors"]
    assert (wrong["code"], wrong["pointer"], wrong["column"]) == ("value_invalid", "/fields/occurred_on", "日期[occurred_on]")
    assert wrong["message"]
    assert [one["errors"][0]["code"] for one in (third, fourth)] == ["type_unknown", "archive_entry_missing"]

    made = api.ask("GET", f"/api/v1/certificates/{first['certificate_id']}")
    assert (made["state"], made["document"]["file_name"], made["fields"]["occurred_on"]) == ("draft", "判决书.png", "2026-01-05")
    who = api.ask("GET", f"/api/v1/certificates/{first['certificate_id']}/history")["items"][0]["actor"]
    assert who["kind"] == "account"

    # The same archive again, and a repaired one by another member of the company: nothing twice.
    again = imported(api, archive(table(*rows), files))
    assert [again[name] for name in ("created", "updated", "unchanged", "failed")] == [0, 0, 2, 3]
    rows[2] = ("A-2", LAWSUIT, "", "更正后的说明", "2026-01-06")
    rows[1] = ("A-1", LAWSUIT, "判决书.png", "买卖合同纠纷（二审）", "2026年1月5日")
    repaired = imported(api, archive(table(*rows), files))
    assert [one["outcome"] for one in repaired["items"]] == ["updated", "created", "failed", "failed", "unchanged"]
    assert repaired["items"][0]["certificate_id"] == first["certificate_id"]
    assert len(api.ask("GET", "/api/v1/certificates")["items"]) == 3

    # What was submitted is no draft any more: the row is refused, the entry stands.
    api.ask("POST", f"/api/v1/certificates/{first['certificate_id']}/submission")
    rows[1] = ("A-1", LAWSUIT, "判决书.png", "又改", "2026年1月5日")
    late = imported(api, archive(table(*rows), files))["items"][0]
    assert (late["outcome"], late["errors"][0]["code"], late["errors"][0]["column"]) == ("failed", "wrong_state", "行标识")

    # The report as a spreadsheet gets it, without formulas; and another company sees none of it.
    sheet = api.send("GET", f"/api/v1/imports/{report['id']}/report.csv")
    cells = [cell for line in csv.reader(io.StringIO(sheet.content.decode("utf-8-sig"))) for cell in line]
    assert "A-2" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    stranger = world.company()
    stranger.refused("GET", f"/api/v1/imports/{report['id']}", 404, "not_found")
    assert stranger.ask("GET", "/api/v1/imports")["items"] == []
    assert {one["id"] for one in api.ask("GET", "/api/v1/imports")["items"]} >= {report["id"], again["id"]}


def test_a_row_names_its_person_by_the_number_of_the_id_document(world: World) -> None:
    api, stranger = world.company(), world.company()
    mine, gone, theirs = world.employee(api), world.employee(api), world.employee(stranger)
    left = api.ask("POST", f"/api/v1/persons/{gone['id']}/unbinding")
    assert left["state"] == "unbound"
    numbers = (mine["id_no"].lower(), mine["id"], gone["id_no"], theirs["id_no"], "no number")
    rows = [("P-1", "personal_id", numbers[0]), *((f"P-{at}", "personal_id", number) for at, number in enumerate(numbers[1:], 2))]
    report = imported(api, archive(table(("行标识", "证照类型", "person"), *rows)))
    assert [one["outcome"] for one in report["items"]] == ["created", "created", "failed", "failed", "failed"]
    for one in report["items"][:2]:
        assert api.ask("GET", f"/api/v1/certificates/{one['certificate_id']}")["person_id"] == mine["id"]
    for one in report["items"][2:]:
        (wrong,) = one["errors"]
        assert (wrong["code"], wrong["column"], bool(wrong["message"])) == ("person_unknown", "person", True)


def test_a_killed_import_goes_on_where_it_stood(world: World, suite: RunningSuite) -> None:
    api = world.company()
    rows = [HEAD, *((f"K-{number}", LAWSUIT, "", f"第{number}件", "2026-01-05") for number in range(300))]
    data = archive(table(*rows))
    path = f"/api/v1/imports/{api.ask('POST', '/api/v1/imports', 202, files={'file': ('a.zip', data, 'application/zip')})['id']}"
    eventually(lambda: api.ask("GET", path, params={"limit": 0})["created"] > 3)
    suite.kill_process("certificate")
    suite.wait_ready()
    eventually(lambda: api.ask("GET", path, params={"limit": 0})["state"] == "done", 120)
    report = api.ask("GET", path, params={"limit": 1000})
    assert (report["created"], report["unchanged"], report["failed"]) == (300, 0, 0)
    assert len({row["certificate_id"] for row in report["items"]}) == 300
    again = imported(api, data)
    assert (again["created"], again["unchanged"]) == (0, 300)


def test_a_template_is_a_table_that_can_be_imported(world: World) -> None:
    api = world.company()
    made = api.send("GET", "/api/v1/imports/template", params={"type": [LAWSUIT]}).content
    head, line = list(csv.reader(io.StringIO(made.decode("utf-8-sig"))))
    values = {"description": "劳动争议", "occurred_on": "2026-04-01", "row_key": "B-1"}
    filled = [next((value for name, value in values.items() if f"[{name}]" in one), cell) for one, cell in zip(head, line, strict=True)]
    report = imported(api, archive(table(tuple(head), tuple(filled))))
    assert (report["created"], report["failed"]) == (1, 0), report
    api.refused("GET", "/api/v1/imports/template", 422, "type_unknown", "/type", params={"type": "nothing"})


def test_what_is_no_sound_archive_is_refused_at_once(world: World) -> None:
    api = world.company()

    def refused(data: bytes, status: int, code: str) -> None:
        api.refused("POST", "/api/v1/imports", status, code, files={"file": ("a.zip", data, "application/zip")})

    good = archive(table(HEAD, ("A", LAWSUIT, "", "x", "2026-01-01")))
    refused(b"%PDF-1.7 no archive", 415, "document_not_recognised")
    refused(good[:-1], 422, "archive_damaged")
    refused(archive(table(HEAD)), 422, "table_empty")
    refused(archive(table(("a", "b"), ("1", "2"))), 422, "table_head_wrong")
    refused(archive(table(HEAD, HEAD), {"documents/inner.pdf": good}), 422, "archive_nested")
    refused(archive(table(HEAD, HEAD), {"../../etc/passwd": b"x"}), 422, "archive_entry_refused")
    assert api.ask("GET", "/api/v1/imports")["items"] == []


# -- exports -----------------------------------------------------------------------------------------------------------


def exported(api: Api, path: Path) -> Json:
    """Writes the archive of the company's record to ``path``; the export."""
    asked = api.ask("POST", "/api/v1/exports", 202)

    def done() -> Json | None:
        now = api.ask("GET", f"/api/v1/exports/{asked['id']}")
        return now if now["state"] == "done" else None

    made = eventually(done)
    answer = api.send("GET", f"/api/v1/exports/{asked['id']}/archive")
    assert answer.status_code == 200
    assert (hashlib.sha256(answer.content).hexdigest(), len(answer.content)) == (made["sha256"], made["size"])
    path.write_bytes(answer.content)
    return made


def checked(path: Path, roots: bytes, manifest: str = "") -> list[str]:
    """What ``yunku verify-export`` finds."""
    said: list[str] = []
    asyncio.run(verify_export(path, roots, manifest, said.append))
    return said[:-1]


def forged(source: Path, target: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """An archive that is whole in itself, manifest included, with one file changed."""
    with zipfile.ZipFile(source) as archive, target.open("wb") as sink:
        writer = container.Writer(sink)
        for one in archive.namelist():
            data = archive.read(one)
            if one == container.MANIFEST:
                manifest = json.loads(data)
                manifest["files"][name] = {"sha256": writer.files[name].sha256, "size": writer.files[name].size}
                data = record.json_bytes(manifest)
            writer.add(one, change(data) if one == name else data)
        writer.close()


def test_a_company_takes_its_whole_record_with_it_and_proves_it(world: World, suite: RunningSuite, tmp_path: Path) -> None:
    roots = (suite.root / "pki" / "roots.pem").read_bytes()
    api, stranger = world.operator(), world.company()
    # Sealed, submitted and pushed; a discarded draft; another company's entry.
    path = f"/api/v1/certificates/{world.draft(api, type='articles_of_association')['id']}"
    api.ask("PUT", f"{path}/document", 202, files={"file": ("章程.pdf", world.sample(api).bytes, "application/pdf")})
    sealed = world.sealed(api, path)
    api.ask("POST", f"{path}/submission")
    push = api.ask("POST", f"{path}/pushes", 201, json={"domain": world.demo["reviewer"]["domain"]})
    eventually(lambda: [one for one in api.ask("GET", path)["pushes"] if one["state"] != "requested"])
    given_up = world.draft(api, type=LAWSUIT, fields={"description": "=cmd()", "occurred_on": "2026-01-01"})["id"]
    api.ask("POST", f"/api/v1/certificates/{given_up}/discard")
    # A person, typed, whom another company employed before; and one whom the company employs no more.
    former = world.employee(stranger)
    stranger.ask("POST", f"/api/v1/persons/{former['id']}/unbinding")
    typed = {"source": "typed", "name": "王建国", "id_no": former["id_no"], "position": "=1+1", "phone": "13900000001"}
    person = api.ask("POST", "/api/v1/persons", 201, json=typed)
    gone = world.employee(api)
    api.ask("POST", f"/api/v1/persons/{gone['id']}/unbinding")
    title = world.draft(api, type="personal_id", person_id=person["id"])["id"]
    others = world.draft(stranger, type=LAWSUIT, fields={"description": "他人", "occurred_on": "2026-01-01"})["id"]

    file = tmp_path / "export.zip"
    made = exported(api, file)
    assert checked(file, roots, made["manifest_sha256"]) == []
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        assert {f"objects/documents/{sealed['document']['sha256']}.pdf", f"objects/sealed/{sealed['seal']['sha256']}.pdf"} <= names
        assert {f"certificates/{given_up}.json", f"events/push/{push['id']}.jsonl", f"events/signing/{sealed['seal']['id']}.jsonl"} <= names
        for name in names:
            content = archive.read(name)
            assert others.encode() not in content, name
            assert stranger.subject_id.encode() not in content, name
        summary = list(csv.reader(io.StringIO(archive.read("summary.csv").decode("utf-8-sig"))))
        assert not [cell for line in summary for cell in line if cell.startswith(("=", "+", "-", "@"))]
        assert made["persons"] >= 2
        assert len(summary) == made["certificates"] + made["persons"] + 1
        told = json.loads(archive.read(f"persons/{person['id']}.json"))
        assert (told["person"]["number"], told["person"]["phone"]) == (former["id_no"], "13900000001")
        assert (told["person"]["bound_on"], told["sections"]) == (person["bound_on"], {"basic": [title]})
        assert [one["type"] for one in told["history"]] == ["PersonBound"]
        left = json.loads(archive.read(f"persons/{gone['id']}.json"))
        assert (left["person"]["state"], [one["type"] for one in left["history"]]) == ("unbound", ["PersonBound", "PersonUnbound"])
        assert gone["id_no"].encode() not in archive.read("summary.csv") + archive.read(f"persons/{gone['id']}.json")
        assert not {f"events/subject/{one['id']}.jsonl" for one in (person, gone)} & names
        shown = json.loads(archive.read("subject.json"))
        assert (shown["profile_versions"] == []) == ("accepted_profile" not in shown)
        heads = json.loads(archive.read("manifest.json"))["heads"]
    assert all(heads[service]["position"] > 0 for service in ("certificate", "subject", "signing", "push"))
    stranger.refused("GET", f"/api/v1/exports/{made['id']}", 404, "not_found")
    stranger.refused("GET", f"/api/v1/exports/{made['id']}/archive", 404, "not_found")
    stranger.refused("POST", "/api/v1/exports", 404, "not_found", json={"subject_id": api.subject_id})

    # Another manifest than the log's; roots that the seals don't chain to; any byte changed anywhere.
    assert checked(file, roots, "0" * 64)
    assert [one for one in checked(file, strange_root()) if "seal does not validate" in one]
    data, broken, chance = file.read_bytes(), tmp_path / "broken.zip", random.Random(5)
    for place in [*chance.sample(range(len(data)), 60), *range(len(data) - 80, len(data), 7)]:
        broken.write_bytes(data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :])
        assert checked(broken, roots), place

    # Whole in itself, and yet another story.
    certificate_id = path.rpartition("/")[2]
    stories: dict[str, Callable[[bytes], bytes]] = {
        f"certificates/{certificate_id}.json": lambda told: told.replace(b'"submitted"', b'"superseded"'),
        f"events/certificate/{certificate_id}.jsonl": lambda told: b"".join(told.splitlines(keepends=True)[:-1]),
        "summary.csv": lambda told: told.replace("草稿".encode(), "已入库".encode()).replace("已放弃".encode(), "草稿".encode()),
        "subject.json": lambda told: told.replace(b'"name": "', b'"name": "\xe5\x81\x87'),
        f"objects/sealed/{sealed['seal']['sha256']}.pdf": lambda told: told + b"\n",
    }
    for name, change in stories.items():
        forged(file, broken, name, change)
        assert checked(broken, roots), name
