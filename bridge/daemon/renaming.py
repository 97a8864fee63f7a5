"""Sources that got another name: ``formerly = OLD`` in their section.

It is done by the bridge at its start, before anything can arrive under the new name, so
that no command races with a bridge that still runs under the old one.
"""

from __future__ import annotations

import logging
from functools import partial

from bridge.api.spool import Spool
from bridge.daemon.instance import Bridge
from bridge.flow.instances.insist import Persistence, insisting
from bridge.flow.problems import FORMERLY_IGNORED

FORMERLY = "formerly"
"""Topic, and name of the setting."""

log = logging.getLogger(__name__)


async def rename_sources(bridge: Bridge, spool: Spool) -> None:
    """Give what sources stored under a former name their name of today. Waits while
    the spool cannot be written: a source that ran before would begin a second one.
    """
    for source in bridge.config.sources:
        former = source.core.formerly
        if not former:
            continue
        report = bridge.board.report(f"source:{source.name}")
        insist = insisting(report, bridge.random, Persistence())
        rename = partial(spool.rename_source, former, source.name)
        try:
            await insist(rename, topic=FORMERLY, doing=f"taking over what {former} stored")
        except LookupError:
            pass  # it was done by an earlier start, or there was nothing
        except ValueError:
            report(
                f"formerly = {former} has no effect: the spool knows events of {former} and of "
                f"{source.name}; what was stored as {former} stays known under that name",
                problem=FORMERLY_IGNORED,
                topic=FORMERLY,
            )
        else:
            log.info("%s: took over what %s stored", source.name, former)
