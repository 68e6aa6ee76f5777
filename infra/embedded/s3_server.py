"""The embedded S3 store: SeaweedFS (`weed mini`), with versioning and object lock, spoken to through the minio SDK."""

import http.client
import json
import signal
from typing import Final

import urllib3
from minio import Minio
from minio.error import S3Error

from infra.embedded.home import LOOPBACK, Home, StartError, venv_binary, write_private

NAME: Final = "s3"
PROVISION_EACH_START: Final = True
#: Its orderly stop now and then takes half a minute for reasons of its own. It must survive kill -9 at any moment anyway
#: (the chaos tests do that), so it isn't waited for.
DEATH_SIGNAL: Final = signal.SIGKILL
STOP_SIGNAL: Final = signal.SIGTERM
STOP_SECONDS: Final = 3.0

#: bucket -> whether objects in it can be locked. What users upload and what is sealed is; page images can be remade,
#: archives of imports and exports pass through.
BUCKETS: Final = {"documents": True, "pages": False, "sealed": True, "transfers": False}


def prepare(home: Home) -> None:
    identity = {
        "name": "yunku",
        "credentials": [{"accessKey": home.secrets["s3_access_key"], "secretKey": home.secrets["s3_secret_key"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_private(home.root / "s3.json", json.dumps({"identities": [identity]}))
    (home.root / "s3").mkdir(exist_ok=True, mode=0o700)


def command(home: Home) -> list[str]:
    """Without these flags SeaweedFS reports telemetry, opens four more ports, and takes 22 s to restart."""
    ports = home.ports
    return [
        str(venv_binary("weed")),
        "-logtostderr=true",
        "mini",
        f"-dir={home.root / 's3'}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        f"-s3.config={home.root / 's3.json'}",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-master.electionTimeout=1s",
        "-volume.preStopSeconds=0",
        f"-s3.port={ports['s3']}",
        f"-master.port={ports['weed_master']}",
        f"-volume.port={ports['weed_volume']}",
        f"-filer.port={ports['weed_filer']}",
        f"-admin.port={ports['weed_admin']}",
    ]


def client(home: Home) -> Minio:
    """A client that fails soon rather than retrying for minutes."""
    return Minio(
        f"{home.host('s3')}:{home.ports['s3']}",
        home.secrets["s3_access_key"],
        home.secrets["s3_secret_key"],
        secure=False,
        http_client=urllib3.PoolManager(timeout=urllib3.Timeout(10), retries=False),
    )


def is_ready(home: Home) -> bool:
    """Listening, and the configured credentials already count."""
    try:
        client(home).list_buckets()
    except (S3Error, urllib3.exceptions.HTTPError, OSError):
        return False
    return True


def provision(home: Home) -> None:
    """The buckets, and a sync to disk before an upload is acknowledged."""
    _sync_before_acknowledging(home)
    store = client(home)
    present = {bucket.name for bucket in store.list_buckets()}
    for bucket, locked in BUCKETS.items():
        if bucket not in present:
            store.make_bucket(bucket, object_lock=locked)


def _sync_before_acknowledging(home: Home) -> None:
    """SeaweedFS leaves syncing to the operating system unless its filer's rules say otherwise; they are a file in it.

    Measured with strace: one fsync an upload with the rule, none without. The filer's own index (leveldb) still isn't
    synced at each write: what a power failure cost there, `yunku check` names.
    """
    rules = json.dumps({"version": 0, "locations": [{"locationPrefix": "/buckets/", "fsync": True}]}).encode()
    filer = http.client.HTTPConnection(home.host("s3"), home.ports["weed_filer"], timeout=10)
    try:
        filer.request("GET", "/etc/seaweedfs/filer.conf")
        answer = filer.getresponse()
        if answer.read() == rules and answer.status == 200:
            return
        filer.request("PUT", "/etc/seaweedfs/filer.conf", rules, {"Content-Type": "application/octet-stream"})
        answer = filer.getresponse()
        if answer.status not in (200, 201):
            raise StartError(f"SeaweedFS did not take its rules: {answer.status} {answer.read()[:200]!r}")
        answer.read()
    finally:
        filer.close()
