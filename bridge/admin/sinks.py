"""What commands ask about sinks: their balance, their parked devices, and that they are
forgotten, renamed or sent things again.

Requests that change something say with ``apply = false`` what they would do.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from attrs import frozen

from bridge.admin.answers import sink_unknown
from bridge.api import JSON, CommandError, CommandHandler
from bridge.api.spool import Account, ParkedDevice, Spool

MAX_PAGE = 500  # devices in one answer


@frozen
class SinkRequests:
    """Answers about the sinks of one spool."""

    spool: Spool
    configured: Collection[str]
    """Names of all sinks in the configuration, the disabled ones too."""

    @property
    def handlers(self) -> dict[str, CommandHandler]:
        return {
            "accounts": self.accounts,
            "parked": self.parked,
            "retry": self.retry,
            "purge": self.purge,
            "rename": self.rename,
            "rewind": self.rewind,
        }

    async def accounts(self, _arguments: JSON) -> JSON:
        """The balance of each sink."""
        return [account_as_json(each) for each in await self._accounts()]

    async def parked(self, arguments: JSON) -> JSON:
        """A page of the parked devices of a sink."""
        sink = (await self._known(arguments["sink"])).sink
        page = await self.spool.parked(
            sink, after=arguments["after"], limit=min(arguments["limit"], MAX_PAGE)
        )
        return [parked_as_json(device) for device in page]

    async def retry(self, arguments: JSON) -> JSON:
        """Make a parked device due now, or all of a sink."""
        sink, device = arguments["sink"], arguments["device"]
        await self._known(sink)
        due = await self.spool.retry_parked(sink, device)
        if device is not None and not due:
            raise CommandError(f"{sink}: no device {device!r} is parked; see bridged parked {sink}")
        return {"due": due}

    async def purge(self, arguments: JSON) -> JSON:
        """Forget a sink that no section names; ``pending`` is what it owed."""
        account = await self._known(arguments["sink"])
        self._must_be_orphaned(account.sink)
        if not arguments["apply"]:
            return {"pending": account.pending}
        return {"pending": await self.spool.purge(account.sink)}

    async def rename(self, arguments: JSON) -> JSON:
        """Give what a sink owes another name. ``begun``: a sink of that name has begun
        already. ``configured``: a section names it.
        """
        sink, name = arguments["sink"], arguments["name"]
        account = await self._known(sink)
        self._must_be_orphaned(sink)
        if not name or name == sink:
            raise CommandError(f"expected another name for {sink!r}, got {name!r}")
        begun = name in {each.sink for each in await self._accounts()}
        if arguments["apply"]:
            await self.spool.rename(sink, name)
        return {
            "pending": account.pending,
            "begun": begun,
            "configured": name in self.configured,
        }

    async def rewind(self, arguments: JSON) -> JSON:
        """Make pending again what a sink was sent since a time."""
        sink = (await self._known(arguments["sink"])).sink
        to = datetime.fromisoformat(arguments["to"])
        done = await self.spool.rewind(sink, to, plan=not arguments["apply"])
        return {
            "again": done.again,
            "reaches": None if done.reaches is None else done.reaches.isoformat(),
        }

    async def _accounts(self) -> list[Account]:
        return await self.spool.accounts(self.configured)

    async def _known(self, sink: str) -> Account:
        accounts = {account.sink: account for account in await self._accounts()}
        if sink not in accounts:
            raise CommandError(sink_unknown(sink, accounts))
        return accounts[sink]

    def _must_be_orphaned(self, sink: str) -> None:
        if sink in self.configured:
            raise CommandError(
                f"{sink} is in the configuration; remove its section first, and restart the "
                "bridge if it runs"
            )


def account_as_json(account: Account) -> dict[str, JSON]:
    """Times are ISO 8601, UTC."""
    oldest = account.oldest_pending
    return {
        "sink": account.sink,
        "received": account.received,
        "again": account.again,
        "delivered": account.delivered,
        "filtered": account.filtered,
        "dead": account.dead,
        "expired": account.expired,
        "pending": account.pending,
        "parked": account.parked,
        "parked_devices": account.parked_devices,
        "oldest_pending": None if oldest is None else oldest.isoformat(),
        "orphaned": account.orphaned,
        "balanced": account.balanced,
    }


def parked_as_json(device: ParkedDevice) -> dict[str, JSON]:
    """``waited`` and ``due`` are seconds."""
    return {
        "sink": device.sink,
        "device": device.device,
        "events": device.events,
        "since": device.since.isoformat(),
        "waited": device.waited,
        "due": device.due,
        "attempts": device.attempts,
        "why": device.why,
    }
