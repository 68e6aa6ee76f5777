"""The table of states is made by running the decisions themselves."""

from ops.certificate_states import COMMANDS
from ops.states_document import CALLS, DOCUMENT, render


def test_the_committed_page_is_current() -> None:
    assert DOCUMENT.read_text() == render(), "run: python -m ops.states_document"


def test_every_command_has_its_call() -> None:
    assert set(CALLS) == set(COMMANDS)
