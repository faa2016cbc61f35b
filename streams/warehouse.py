"""`faust -A streams.warehouse worker`: topics into their ClickHouse tables, and answers to questions about what is there."""

from typing import Any

from agents.domains import DOMAINS
from agents.factory.domain import FACTORY
from schemas.catalog import STORED
from streams import api, cityscape, history, rollups
from streams.assembly import App, NotReady
from streams.clickhouse import ClickHouse
from streams.clickhouse_errors import CannotOpen, ClickHouseAway
from streams.reach import Reach
from streams.sensors import SensorTypes
from streams.settings import settings
from streams.sinking import Sinking

app = App("warehouse", web_port=6067)

clickhouse = ClickHouse(settings().clickhouse, settings().data / "clickhouse")

judged = {domain.source.topic: domain for domain in DOMAINS.values()}
sinks = {contract.topic: Sinking(app, clickhouse, contract, judged.get(contract.topic)) for contract in STORED}
reach = Reach(app, clickhouse, [*sinks.values()])
sensors = SensorTypes(app, DOMAINS.values(), lambda domain: sinks[domain.source.topic].adopt(domain))


def counts(_: api.Nothing) -> dict[str, Any]:
    """Rows by table, and each sink's ledger since the start. The embedded engine answers only its own process, so this worker does."""
    return {"rows": clickhouse.counts(), "ledger": {topic: sink.counts for topic, sink in sinks.items()}}


def _open(*_: object, **__: object) -> None:
    try:
        clickhouse.open()
    except CannotOpen as problem:
        raise NotReady(str(problem)) from problem
    except ClickHouseAway as away:
        app.log.warning("clickhouse_awaited: %s", away)


api.mount(
    app,
    api.Question("/warehouse/counts", api.Nothing, "Rows by table, and the sinks' ledger.", counts),
    *history.questions(clickhouse),
    *rollups.questions(clickhouse, lambda: sensors.limits(FACTORY.name)),
    *cityscape.questions(clickhouse),
)
app.on_worker_init.connect(_open)
