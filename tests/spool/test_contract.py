"""Both engines of this repository keep the contract of the spool."""

import pytest

from bridge.api.spool import SpoolContext
from bridge.spool import SqliteSettings
from bridge.spool.audit import audit
from bridge.spool.sqlite import open_sqlite
from bridge.testing.memory import MemoryStore, open_memory_spool
from bridge.testing.spool_contract import OpenEngine, SpoolContract


class TestMemorySpool(SpoolContract):
    @pytest.fixture
    def open_engine(self) -> OpenEngine:
        store = MemoryStore()
        return lambda: open_memory_spool(store)


class TestSqliteSpool(SpoolContract):
    @pytest.fixture
    def open_engine(self, context: SpoolContext) -> OpenEngine:
        yield lambda: open_sqlite(SqliteSettings(), context)
        assert audit(context.directory).problems == ()
