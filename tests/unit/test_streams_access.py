import pytest
from pydantic import SecretStr

from schemas.catalog import in_kafka
from streams import access
from streams.settings import Settings


@pytest.mark.parametrize(
    ("said", "protocol"),
    [
        ({}, "PLAINTEXT"),
        ({"kafka_user": "b"}, "SASL_PLAINTEXT"),
        ({"kafka_ca": "ca.pem"}, "SSL"),
        ({"kafka_user": "b", "kafka_ca": "ca.pem"}, "SASL_SSL"),
    ],
)
def test_a_user_means_sasl_and_an_authority_means_tls(said, protocol, tmp_path):
    if "kafka_ca" in said:
        said = said | {"kafka_ca": str(tmp_path / said["kafka_ca"])}
        (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    ours = Settings(**said, kafka_password=SecretStr("secret"))
    options = access.quiet("host:9092", ours)
    assert options["security.protocol"] == protocol
    assert options.get("sasl.password") == ("secret" if "kafka_user" in said else None)
    assert options.get("ssl.ca.location") == said.get("kafka_ca")


def test_a_tenant_s_name_comes_before_its_topics_but_the_default_one_s_does_not():
    assert in_kafka("riverside", "env.air.raw") == "riverside.env.air.raw"
    assert in_kafka("default", "env.air.raw") == "env.air.raw"


def test_a_process_that_is_started_with_settings_knows_the_password():
    environment = Settings(kafka_password=SecretStr("secret"), web_token=SecretStr("token")).environment()
    assert (environment["HEADRACE_KAFKA_PASSWORD"], environment["HEADRACE_WEB_TOKEN"]) == ("secret", "token")
