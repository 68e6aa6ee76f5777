"""A GREEN, submitted certificate earns a digital certificate that anybody can check, online by its code and offline by its token."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import ECKey

from infra.testing import RunningSuite
from tests.e2e.http_world import Api, World, eventually


def payload(token: str, keys: list[dict[str, Any]]) -> dict[str, object]:
    kid = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"]
    [key] = [one for one in keys if one["kid"] == kid]
    claims: dict[str, object] = json.loads(jws.deserialize_compact(token, ECKey.import_key(key), algorithms=["ES256"]).payload)
    return claims


def test_green_is_attested_and_checked_by_anybody(suite: RunningSuite) -> None:
    world = World(suite)
    api, anybody = world.operator(), Api(suite.http_url)
    draft = f"/api/v1/certificates/{world.draft(api)['id']}"
    api.refused("GET", f"{draft}/digital-certificate", 404, "not_found")
    anybody.refused("GET", "/api/v1/verify/21QAAAAAAAAAAAAAAAAA", 404, "not_found")
    anybody.refused("GET", "/api/v1/verify/nonsense", 404, "not_found")

    path = world.submitted(api, world.sample(api))
    certificate = api.ask("GET", path)
    eventually(lambda: api.send("GET", f"{path}/digital-certificate").status_code == 200)
    own = api.ask("GET", f"{path}/digital-certificate")
    world.company().refused("GET", f"{path}/digital-certificate", 404, "not_found")
    checked = anybody.ask("GET", f"/api/v1/verify/{certificate['unique_code']}")
    assert checked == own
    assert (own["status"], own["type_label"], own["version"]) == ("VALID", "建筑业企业资质证书", certificate["version"])
    assert own["sealed_sha256"] == certificate["seal"]["sha256"]

    keys = anybody.ask("GET", "/api/v1/digital-certificates/keys")["keys"]
    claims = payload(own["token"], keys)
    assert (claims["code"], claims["sub"], claims["document_sha256"]) == (
        certificate["unique_code"], own["holder_uscc"], certificate["document"]["sha256"]
    )  # fmt: skip
    status = claims["status"]["status_list"]  # type: ignore[index]
    answer = httpx.get(suite.http_url + status["uri"], trust_env=False)
    assert answer.headers["content-type"].startswith("application/statuslist+jwt")
    told = payload(answer.text, keys)["status_list"]["lst"]  # type: ignore[index]
    bits = zlib.decompress(base64.urlsafe_b64decode(told + "=" * (-len(told) % 4)))
    assert not bits[status["idx"] // 8] >> (status["idx"] % 8) & 1

    # A new certificate takes its place: what was attested of the former is taken back, and the new one is attested.
    successor = world.submitted(api, world.sample(api), supersedes=certificate["id"])
    code = f"/api/v1/verify/{certificate['unique_code']}"
    eventually(lambda: anybody.ask("GET", code)["status"] == "REVOKED")
    gone = anybody.ask("GET", code)
    assert (gone["status"], gone["reason"], gone["token"]) == ("REVOKED", "superseded", own["token"])
    eventually(lambda: api.send("GET", f"{successor}/digital-certificate").status_code == 200)
    assert api.ask("GET", f"{successor}/digital-certificate")["status"] == "VALID"
