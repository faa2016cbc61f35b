from types import SimpleNamespace

from agents.gateway.duplicates import Duplicates
from agents.gateway.envelopes import Delivery
from agents.gateway.message import Post, Sender, Source, Verdict
from agents.gateway.place import Place
from agents.gateway.sparkplug.wire import PAYLOAD
from schemas.catalog import CONTRACTS
from streams.keeping import Keeping
from streams.rounds import assemble


async def test_the_ledger_holds_where_a_message_is_several_records_and_some_of_it_a_dead_letter(tmp_path):
    samples = [{"name": b"t", "double_value": 1.0, "timestamp": at} for at in (1, 2, 3)]
    payload = PAYLOAD(metrics=[*samples, {"alias": 9, "int_value": 1}], seq=1, timestamp=4).SerializeToString()
    post, whole = Post("spBv1.0/g/NDATA/e", payload), Post("spBv1.0/g/NDATA/f", PAYLOAD(metrics=samples).SerializeToString())
    delivery = Delivery([post, whole], Source.MQTT, Sender(), 5)
    round_ = assemble([delivery], Place("gw-1", "run", "city"), Duplicates(), dict.fromkeys(CONTRACTS, 1), 5)
    keeping = Keeping(SimpleNamespace(services=[]), tmp_path / "spool.sqlite", lambda _: None)
    await keeping.spool.open()
    await keeping._keep(round_)
    assert {tenant: keeping.counts[tenant]["accepted"] for tenant in keeping.spool.rows} == dict(keeping.spool.rows) == {"city": 6, "": 1}
    assert keeping.counts["city"]["further"] == 4
    assert list(round_.further(round_.apart)) == [0]  # the dead letter, of a message whose records were counted
    assert round_.verdicts == [Verdict.REJECTED, Verdict.SPOOLED]
    await keeping.spool.close()
