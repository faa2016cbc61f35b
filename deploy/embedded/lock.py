"""`python -m deploy.embedded.lock [SERVICE …]`: resolve the services' Java archives and pin them. To change a version, edit it here first.

Maven (`mvn`) resolves: jgo's own resolver takes a property that Artemis's parent refers to twice for a loop.
"""

import hashlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from jgo.maven import MavenContext, MvnResolver
from jgo.parse import Coordinate

from deploy.embedded.artifacts import Pin

LIBRARIES: Final = {
    "kafka": ("org.apache.kafka:kafka_2.13:4.4.0", "org.slf4j:slf4j-simple:2.0.20"),
    # 2.55.0 is the newest of which the repository has both; artemis-cli it has not, and the server has a main class of its own
    "mqtt": (
        "org.apache.artemis:artemis-server:2.55.0",
        "org.apache.artemis:artemis-mqtt-protocol:2.55.0",
        "org.slf4j:slf4j-simple:2.0.20",
    ),
}
"""What is fetched with all that it needs, by service."""
WHOLE: Final = {"registry": "io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all"}
"""What carries its libraries with it."""


def pin(coordinates: str) -> Pin:
    """The pin of `group:artifact:version:packaging[:classifier]`, with the content that the Maven repository gives today."""
    content = Pin("", 0, coordinates).artifact(MavenContext()).resolve().read_bytes()
    return Pin(hashlib.sha256(content).hexdigest(), len(content), coordinates)


def resolved(service: str) -> list[str]:
    """Coordinates of all that a service needs."""
    if service in WHOLE:
        return [WHOLE[service]]
    program = shutil.which("mvn")
    if program is None:
        raise SystemExit("Maven is needed to resolve what a service depends on: there is no mvn in PATH.")
    context = MavenContext(resolver=MvnResolver(Path(program)))
    wanted = [context.create_dependency(replace(Coordinate.parse(each), scope="compile")) for each in LIBRARIES[service]]
    inputs, others = context.resolver.resolve(wanted)
    archives = [each.artifact for each in (*inputs, *others)]
    names = [(each.groupId, each.artifactId, each.version, each.packaging, each.classifier) for each in archives]
    return sorted(":".join(filter(None, parts)) for parts in names)


def main() -> None:
    """Write the services' `.lock` files beside this module, of all unless some are named."""
    for service in sys.argv[1:] or [*LIBRARIES, *WHOLE]:
        text = "".join(f"{pin(each)}\n" for each in resolved(service))
        Path(__file__).with_name(f"{service}.lock").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
