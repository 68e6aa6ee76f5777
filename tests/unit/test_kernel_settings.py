"""Settings from an environment: read, refused by name, never shown."""

from pathlib import Path

import pytest
from pydantic import Field

from kernel.settings import KernelSettings, SettingsError, variable


class _Own(KernelSettings):
    worker_count: int = Field(2, ge=1, description="Worker processes.")


def test_values_are_read_and_typed() -> None:
    settings = _Own.load(
        {
            "YUNKU_SERVICE": "ocr",
            "YUNKU_GRPC_PORT": "7104",
            "YUNKU_PEERS": "identity=127.0.0.1:7101, subject=127.0.0.1:7102,",
            "YUNKU_DATA": "/var/lib/yunku",
            "YUNKU_NATS_URL": "nats://a:4222, nats://b:4222",
            "YUNKU_WORKER_COUNT": "4",
            "YUNKU_SOMETHING_ELSE": "is another process's",
        }
    )
    assert settings.grpc_port == 7104
    assert settings.peers == {"identity": "127.0.0.1:7101", "subject": "127.0.0.1:7102"}
    assert settings.data == Path("/var/lib/yunku")
    assert settings.nats_servers == ["nats://a:4222", "nats://b:4222"]
    assert settings.worker_count == 4
    assert settings.bind_host == "127.0.0.1"


def test_the_program_knows_its_own_name_better() -> None:
    assert KernelSettings.load({"YUNKU_SERVICE": "other"}, service="ocr").service == "ocr"


def test_an_empty_variable_is_not_set() -> None:
    assert KernelSettings.load({"YUNKU_GRPC_PORT": ""}, service="ocr").grpc_port == 0


def test_every_wrong_variable_is_named_and_no_value_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        _Own.load(
            {
                "YUNKU_GRPC_PORT": "s3cret",
                "YUNKU_PEERS": "identity",
                "YUNKU_WORKER_COUNT": "0",
                "YUNKU_S3_SECRET_KEY": "hunter2",
            }
        )
    message = str(caught.value)
    for name in ("YUNKU_SERVICE", "YUNKU_GRPC_PORT", "YUNKU_PEERS", "YUNKU_WORKER_COUNT"):
        assert name in message
    assert "s3cret" not in message
    assert "hunter2" not in message


def test_secrets_are_not_in_the_representation() -> None:
    secrets = {
        "database_url": "postgres://u:pw1@h/d",
        "s3_secret_key": "pw2",
        "privacy_key": "pw3",
        "s3_access_key": "pw4",
    }
    settings = KernelSettings.load({variable(name): value for name, value in secrets.items()}, service="ocr")
    assert not [secret for secret in ("pw1", "pw2", "pw3", "pw4") if secret in repr(settings) + str(settings)]


def test_settings_do_not_change() -> None:
    settings = KernelSettings.load({}, service="ocr")
    with pytest.raises(ValueError, match="frozen"):
        settings.grpc_port = 1
