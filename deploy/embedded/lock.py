"""`python -m deploy.embedded.lock`: resolve the services' Java archives and pin them (to change a version, edit it here and run this)."""

import hashlib
from pathlib import Path
from typing import Final

from jgo import resolve
from jgo.maven import MavenContext

from deploy.embedded.artifacts import Pin

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.1.2+org.slf4j:slf4j-simple:1.7.36"
# carries its libraries with it
REGISTRY: Final = "io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all"


def pin(coordinates: str) -> Pin:
    """The pin of `group:artifact:version:packaging[:classifier]`, with the content that the Maven repository gives today."""
    content = Pin("", 0, coordinates).artifact(MavenContext()).resolve().read_bytes()
    return Pin(hashlib.sha256(content).hexdigest(), len(content), coordinates)


def main() -> None:
    """Write `kafka.lock` and `registry.lock` beside this module."""
    kafka = sorted(f"{each.groupId}:{each.artifactId}:{each.version}:{each.packaging}" for each in resolve(KAFKA))
    for name, archives in (("kafka", kafka), ("registry", [REGISTRY])):
        Path(__file__).with_name(f"{name}.lock").write_text("".join(f"{pin(each)}\n" for each in archives))


if __name__ == "__main__":
    main()
