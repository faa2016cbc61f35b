"""Every domain, one a row: the warehouse stores what its `prepare` lets through, and operators' rules are checked against its columns."""

from collections.abc import Mapping
from typing import Final

from agents.city.domain import CITY
from agents.city.guidelines import DISTRICTS
from agents.factory.domain import FACTORY
from agents.reading import Domain

DOMAINS: Final[Mapping[str, Domain]] = {domain.name: domain for domain in (FACTORY, CITY, DISTRICTS)}
