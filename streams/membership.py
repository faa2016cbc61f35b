"""Where the workers of a group reach each other: Faust's assignor tells every member which partitions each address has."""

import socket
from ipaddress import ip_address
from typing import Any, cast

from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor
from faust.types.settings import Settings
from yarl import URL

from streams.settings import settings


def address(conf: Settings) -> URL:
    """Where others reach this worker's web endpoints: `HEADRACE_ADVERTISE`, or where they listen; every address is this host's name."""
    if settings().advertise:
        return URL(settings().advertise)
    return URL.build(scheme="http", host=socket.gethostname() if _is_every(conf.web_bind) else conf.web_bind, port=conf.web_port)


def _is_every(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


class Assignor(PartitionAssignor):
    """Faust's, for a static member that comes back at another address, too.

    The broker gives it the assignment that was made for its former one, which Faust refuses.
    """

    def on_assignment(self, assignment: Any) -> None:  # noqa: ANN401  # aiokafka is untyped
        """Take the assignment; where it names a former address, join once more, so that the others hear of the new one."""
        made_for = cast(ClientMetadata, ClientMetadata.loads(self._decompress(assignment.user_data)))
        moved = made_for.url != str(self._url)
        if moved:
            made_for.url = str(self._url)
            assignment.user_data = self._compress(made_for.dumps())
        super().on_assignment(assignment)
        if moved:
            cast(Any, self.app.consumer)._thread._ensure_consumer()._coordinator.request_rejoin()  # noqa: SLF001  # no seam for it
