"""`faust -A streams.city worker`: devices' messages in, measurements, windows and alerts of devices and districts out."""

from agents.city.domain import CITY
from agents.city.guidelines import DISTRICTS
from schemas.catalog import CITY_WINDOWS, DISTRICT_WINDOWS, MESSAGES
from streams import api, devices
from streams.assembly import App
from streams.refining import Refining
from streams.rulebook import Rulebook
from streams.sensors import SensorTypes
from streams.watching import Watching
from tables.city import DISTRICTS_TABLE, TABLE

app = App("city", web_port=6071)

city = Watching(app, CITY, windows=CITY_WINDOWS, table=TABLE)
districts = Watching(app, DISTRICTS, windows=DISTRICT_WINDOWS, table=DISTRICTS_TABLE)
rulebook = Rulebook(app, city)
of_districts = Rulebook(app, districts, page="/rules/districts")
sensors = SensorTypes(app, [CITY], rulebook.adopt)
urgent = [contract for contract in MESSAGES if not contract.gathered_ms]
others = [contract for contract in MESSAGES if contract.gathered_ms]
refining = [Refining(app, contracts, lambda: sensors.limits(CITY.name)) for contracts in (urgent, others)]
api.mount(app, *devices.questions(city))
