"""Our executors, held to what is shipped for a user's own."""

import pytest

from support.commands import small
from tunesmith.search.executors.local import LocalExecutor
from tunesmith.testing import ExecutorConformance


class TestLocal(ExecutorConformance):
    @pytest.fixture(autouse=True, scope="class")
    def _inputs(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("inputs")
        type(self).overrides = [*small(folder), "trainer.max_epochs=1", "test=false"]

    def make_executor(self):
        return LocalExecutor(workers=1)
