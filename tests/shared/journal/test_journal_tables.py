"""The state machine over Azure Table storage: every test of ``tests/shared/journal/test_journal.py``, once more."""

import pytest

from shared.journal.tables.store import TablesStore
from tests.shared.journal.test_journal import *  # noqa: F403 - the tests are what is wanted


@pytest.fixture
def store(tables_store: TablesStore) -> TablesStore:
    return tables_store
