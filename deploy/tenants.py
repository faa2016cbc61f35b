"""Who may do what in Kafka: each tenant's user everything under the tenant's name, the gateway's what devices' messages need."""

import secrets
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented there, exported implicitly
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from deploy.topics import TIMEOUT_SECONDS, names
from schemas.catalog import (
    COMMAND_EVENTS,
    COMMANDS,
    CONTRACTS,
    CREDENTIALS,
    DEAD_LETTERS,
    DEFAULT_TENANT,
    DEVICE_GROUPS,
    DEVICES,
    ENVELOPE,
    MAPPINGS,
    PRESENCE,
    READINGS,
    SPARKPLUG_BIRTHS,
    in_kafka,
)

GATEWAY: Final = "gateway"
"""The user of a gateway that serves several tenants, and its group."""
GATEWAY_READS: Final = (COMMAND_EVENTS, COMMANDS, CREDENTIALS, DEVICE_GROUPS, DEVICES, MAPPINGS, PRESENCE, SPARKPLUG_BIRTHS)
GATEWAY_WRITES: Final = (COMMAND_EVENTS, COMMANDS, DEAD_LETTERS, DEVICES, PRESENCE, READINGS, SPARKPLUG_BIRTHS)
"""Of the default tenant alone: beside them go devices' messages, to each tenant's own topics."""
MESSAGES: Final = {contract.topic for contract in CONTRACTS.values() if contract.schema == ENVELOPE}
ITERATIONS: Final = 8_192
"""Of the hash Kafka keeps of a password; the least it takes is 4,096."""
RESERVED: Final = {DEFAULT_TENANT, GATEWAY, *(name.partition(".")[0] for name in names(DEFAULT_TENANT)), "iot"}
"""No tenant's names: topics of the default tenant begin with them, or its users are called so."""


def rights(tenant: str) -> set[AclBinding]:
    """What a tenant's workers may do: all their names begin with the tenant's, and nobody else's do."""
    operations = (AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE_CONFIGS)
    of_topics = {_rule(tenant, ResourceType.TOPIC, in_kafka(tenant, ""), operation, prefixed=True) for operation in operations}
    return of_topics | {_rule(tenant, ResourceType.GROUP, in_kafka(tenant, ""), AclOperation.READ, prefixed=True)}


def rights_of_gateway(tenants: Iterable[str]) -> set[AclBinding]:
    """What a gateway may do that serves these tenants beside the default one.

    The operator's mapping names topics freely, so it may write any but those that are not for devices' messages.
    """
    operations = (AclOperation.WRITE, AclOperation.CREATE)
    rules = {_rule(GATEWAY, ResourceType.TOPIC, "*", operation) for operation in operations}
    rules |= {_rule(GATEWAY, ResourceType.TOPIC, contract.topic, AclOperation.READ) for contract in GATEWAY_READS}
    rules |= {_rule(GATEWAY, ResourceType.GROUP, GATEWAY, AclOperation.READ)}
    written = {contract.topic for contract in GATEWAY_WRITES}
    for tenant in (DEFAULT_TENANT, *tenants):
        kept = names(tenant).keys() - {in_kafka(tenant, topic) for topic in MESSAGES} - written
        rules |= {_rule(GATEWAY, ResourceType.TOPIC, topic, AclOperation.WRITE, AclPermissionType.DENY) for topic in kept}
    return rules


def allow(admin: AdminClient, rules: Iterable[AclBinding]) -> None:
    """Have Kafka keep to the rules, too. Raises KafkaException, where it has no authorizer for instance."""
    for made in admin.create_acls([*rules], request_timeout=TIMEOUT_SECONDS).values():
        made.result()


def allowed(admin: AdminClient) -> set[AclBinding]:
    """Every rule Kafka keeps to; none where it does not tell this user. Raises KafkaException."""
    anything: Any = None  # which is what it takes, whatever its types say
    everything = AclBindingFilter(
        ResourceType.ANY, anything, ResourcePatternType.ANY, anything, anything, AclOperation.ANY, AclPermissionType.ANY
    )
    return {*admin.describe_acls(everything, request_timeout=TIMEOUT_SECONDS).result()}


def is_known(admin: AdminClient, user: str) -> bool:
    """Whether a user has a password. Raises KafkaException."""
    # only asked by who could make rules: where Kafka refuses to tell, librdkafka 2.16 brings the process down
    try:
        asked = cast(dict[str, Future[Any]], admin.describe_user_scram_credentials([user], request_timeout=TIMEOUT_SECONDS))
        asked[user].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.RESOURCE_NOT_FOUND:
            return False
        raise
    return True


def new_password(admin: AdminClient, user: str) -> str:
    """Give a user a password, in the place of the one it has; nobody can ask Kafka for it. Raises KafkaException."""
    password = secrets.token_urlsafe(24)
    how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
    change = UserScramCredentialUpsertion(user, how, password.encode())
    admin.alter_user_scram_credentials([change], request_timeout=TIMEOUT_SECONDS)[user].result()
    return password


def _rule(
    user: str,
    kind: ResourceType,
    name: str,
    operation: AclOperation,
    permission: AclPermissionType = AclPermissionType.ALLOW,
    *,
    prefixed: bool = False,
) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, permission)
