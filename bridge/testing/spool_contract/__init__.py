"""What every engine of the spool must pass. Run it on yours:

    pytest.register_assert_rewrite("bridge.testing.spool_contract")     # in conftest.py

    class TestAcmeSpool(SpoolContract):
        @pytest.fixture
        def open_engine(self, tmp_path):
            return lambda: open_acme(AcmeSettings(), context(tmp_path))

``open_engine`` opens the same spool each time it is called; it is new for each test.
The tests are async: they need pytest-trio with ``trio_mode = true``. They take an
engine at its word that it is durable; that its word is good can only be shown with a
power cut.
"""

from bridge.testing.spool_contract.account import AccountContract
from bridge.testing.spool_contract.append import AppendContract, OpenEngine
from bridge.testing.spool_contract.lend import LendingContract
from bridge.testing.spool_contract.letters import LettersContract
from bridge.testing.spool_contract.parking import ParkingContract
from bridge.testing.spool_contract.renaming import RenameContract
from bridge.testing.spool_contract.replaying import ReplayContract
from bridge.testing.spool_contract.rewinding import RewindContract
from bridge.testing.spool_contract.state import StateContract
from bridge.testing.spool_contract.waiting import WaitingContract

__all__ = ["OpenEngine", "SpoolContract"]


class SpoolContract(
    AppendContract,
    LendingContract,
    ParkingContract,
    WaitingContract,
    LettersContract,
    ReplayContract,
    RewindContract,
    RenameContract,
    AccountContract,
    StateContract,
):
    """The whole contract."""
