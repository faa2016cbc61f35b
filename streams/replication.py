"""From the changelogs' records into the stores, before Faust hears of them.

Faust's recovery takes records from a queue that it clears whenever flow resumes: after a rebalance in mid-recovery those of a fetch that
was under way were lost, and what came behind them counted for everything up to there. Through the queue it only learns now that
something came; how far a changelog is read are its own counters, kept here.
"""

from typing import cast

from faust import Table
from faust.tables.manager import TableManager
from faust.types import TP

from streams.batches import Taken
from streams.store import Store


def replicate(tables: TableManager, records: dict[TP, Taken]) -> dict[TP, tuple[int, int]]:
    """Take in the changelogs' records, from the offset after those that were taken in.

    What does not join on to those is removed from `records`; of each is returned where it has to come from again, and the end of the take.
    """
    recovery, missing = tables.recovery, {}
    for tp, taken in list(records.items()):
        store = cast(Table[bytes, bytes], recovery.tp_to_table[tp]).data if tp in recovery.tp_to_table else None
        if not isinstance(store, Store):  # a source, or a table in one of Faust's own stores
            continue
        offsets = recovery.active_offsets if tp in recovery.active_tps else recovery.standby_offsets
        have = offsets.get(tp)
        if have is None or taken.start > have + 1:
            missing[tp] = (taken.start if have is None else have + 1, taken.end)
            del records[tp]
            continue
        offsets[tp] = max(have, taken.end - 1)
        store.replicate(tp.partition, [record for record in taken if record.offset > have], offsets[tp])
    return missing
