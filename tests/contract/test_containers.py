"""compose.yaml, its override and Prometheus name the processes of kernel/topology.py; each sees its own secrets only."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from infra.containers import state
from infra.embedded.home import StartError
from infra.supervisor import service_environment
from kernel import topology
from kernel.observability import metrics

ROOT = Path(__file__).resolve().parents[2]


def _load(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / path).read_text())
    return content


def test_every_service_is_a_container_that_mounts_its_own_directory_only() -> None:
    services = _load("compose.yaml")["services"]
    assert set(topology.SERVICES) <= set(services)
    for name in topology.SERVICES:
        container = services[name]
        assert container["command"] == [name]
        sources = [volume.split(":/")[0] for volume in container["volumes"]]
        mounted = [source.removeprefix("${YUNKU_COMPOSE_DATA:-./.yunku-compose}/") for source in sources]
        trusted = ["pki"] if name in state.TRUSTING else []
        assert sorted(mounted) == sorted([f"services/{name}", "public-keys", name, *trusted])
        assert container["read_only"] is True
        assert container["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in container["security_opt"]
        assert "user" not in container  # the image's own, unprivileged one


def test_only_loopback_is_published() -> None:
    containers = [*_load("compose.yaml")["services"].values(), *_load("compose.override.yaml")["services"].values()]
    published = [port for container in containers for port in container.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_host_network_override_leaves_no_container_out() -> None:
    observers = {"prometheus", "grafana"}
    names = set(_load("compose.yaml")["services"]) - observers
    override = _load("infra/containers/compose.host-network.yaml")["services"]
    assert set(override) == names
    assert all(container == {"network_mode": "host"} for container in override.values())


def test_prometheus_scrapes_every_process() -> None:
    [job] = _load("infra/prometheus/prometheus.yml")["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{name}:7001" for name in topology.SERVICES]


def test_alerts_and_dashboard_use_figures_that_exist() -> None:
    known = {
        sample
        for metric in vars(metrics).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.describe()
        for sample in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    rules = _load("infra/prometheus/rules.yml")["groups"][0]["rules"]
    dashboard = json.loads((ROOT / "infra/grafana/dashboards/yunku.json").read_text())
    expressions = [rule["expr"] for rule in rules]
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {name for expression in expressions for name in re.findall(r"\byunku_\w+", expression)}
    assert used
    assert used <= known


@pytest.mark.parametrize("network", ["", "host"])
def test_addresses_in_a_network_of_containers_and_on_one_host(tmp_path: Path, network: str) -> None:
    home = state.open_home(tmp_path, {"YUNKU_NETWORK": network})
    told = service_environment(home, "verify")
    if network:
        assert told["YUNKU_PEERS"].startswith("identity=127.0.0.1:7101,")
        assert len(set(home.ports.values())) == len(home.ports)
    else:
        assert told["YUNKU_PEERS"].startswith("identity=identity:7000,")
        assert "@postgres:5432/yunku_verify" in told["YUNKU_DATABASE_URL"]
        assert (told["YUNKU_NATS_URL"], told["YUNKU_S3_ENDPOINT"]) == ("nats://nats:4222", "http://s3:8333")


def test_three_nats_nodes_have_addresses_of_their_own(tmp_path: Path) -> None:
    home = state.open_home(tmp_path, {"YUNKU_NETWORK": "host", "YUNKU_NATS_NODES": "3"})
    assert home.nats_url == "nats://127.0.0.1:4222,nats://127.0.0.1:4232,nats://127.0.0.1:4242"
    with pytest.raises(StartError):
        state.open_home(tmp_path, {"YUNKU_NATS_NODES": "2"})
