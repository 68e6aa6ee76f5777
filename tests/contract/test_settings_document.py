"""docs/settings.md says what the settings classes say."""

from pathlib import Path

from kernel.settings import KernelSettings, document, variable

ROOT = Path(__file__).parents[2]


def test_the_document_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == document(ROOT), "run: python -m kernel.settings"


def test_every_kernel_setting_is_described() -> None:
    assert [name for name, field in KernelSettings.model_fields.items() if not field.description] == []
    assert all(f"`{variable(name)}`" in document(ROOT) for name in KernelSettings.model_fields)
