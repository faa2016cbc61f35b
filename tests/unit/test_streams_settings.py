import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.settings import Settings, settings


@pytest.fixture(autouse=True)
def _afresh():
    """Read the environment now, and again by whoever comes next."""
    settings.cache_clear()
    yield
    settings.cache_clear()


def refusal(monkeypatch, **variables):
    """What a process says that is started with some variables of ours, by their names without the prefix."""
    for name, value in variables.items():
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    with pytest.raises(SystemExit) as ended:
        settings()
    return str(ended.value)


def test_variables_that_cannot_be_used_are_named_and_end_the_process(monkeypatch):
    first, second = refusal(monkeypatch, ESCALATE_MINUTES="-1", BROKER_HEAP_MB="much").splitlines()
    assert first.startswith("HEADRACE_ESCALATE_MINUTES: ")
    assert second.startswith("HEADRACE_BROKER_HEAP_MB: ")
    assert second.endswith("not 'much'")


def test_settings_are_read_once(monkeypatch):
    before = settings()
    monkeypatch.setenv("HEADRACE_TENANT", "another")
    assert settings() is before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CENTER", "HEADRACE_CENTER is no setting; did you mean HEADRACE_CENTRE?"),
        ("KAFKA_SERVERS", "HEADRACE_KAFKA_SERVERS is no setting; did you mean HEADRACE_KAFKA?"),
        ("KAFKA_PASWORD", "HEADRACE_KAFKA_PASWORD is no setting; did you mean HEADRACE_KAFKA_PASSWORD?"),
        ("MQTT_URL", "HEADRACE_MQTT_URL is no setting; did you mean HEADRACE_MQTT?"),
        ("MQQT", "HEADRACE_MQQT is no setting; did you mean HEADRACE_MQTT?"),
        ("XYZZY_PLUGH_QUUX", "HEADRACE_XYZZY_PLUGH_QUUX is no setting: docs/reference/settings.md lists them."),
        ("", "HEADRACE_ is no setting: docs/reference/settings.md lists them."),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_with_the_one_that_was_meant(monkeypatch, name, said):
    assert refusal(monkeypatch, **{name: "x"}) == said


@given(st.sampled_from(sorted(Settings.model_fields)), st.data())
def test_a_slip_of_one_letter_is_told_with_the_right_name(field, data):
    at = data.draw(st.integers(0, len(field) - 1))
    slip = field[:at] + field[at + 1 :]
    if slip in Settings.model_fields or slip in ("stack", "service", "dashboards"):
        return
    with pytest.MonkeyPatch.context() as patch:
        assert refusal(patch, **{slip.upper(): "x"}).startswith(f"HEADRACE_{slip.upper()} is no setting; did you mean HEADRACE_")


@pytest.mark.parametrize("name", ["HEADRACE_STACK", "HEADRACE_SERVICE", "HEADRACE_DASHBOARDS", "HEADRACE_SIMULATE_TOKEN"])
def test_what_the_stack_itself_sets_passes(monkeypatch, name):
    monkeypatch.setenv(name, "x")
    assert settings().tenant == "default"


def test_what_kubernetes_sets_for_a_service_of_that_name_passes(monkeypatch):
    for service in ("HEADRACE", "HEADRACE_GATEWAY"):
        for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR"):
            monkeypatch.setenv(f"{service}_{name}", "tcp://10.0.0.1:80")
    assert settings().tenant == "default"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MQTT", "127.0.0.1:1883"),
        ("MQTT", "tcp://127.0.0.1:1883"),
        ("MQTT", "mqtt://"),
        ("MQTT", "mqtt://host:70000"),
        ("MQTT", ""),
        ("KAFKA", ""),
        ("KAFKA", "kafka"),
        ("KAFKA", "kafka:9092;other:9092"),
        ("KAFKA", "kafka:9092, other:9092"),
        ("KAFKA", "PLAINTEXT://kafka:9092"),
        ("KAFKA", "kafka:0"),
        ("CENTRE", "https://centre:9092"),
        ("REGISTRY", "registry:8081"),
        ("CENTRE_REGISTRY", "centre"),
        ("CLICKHOUSE", "clickhouse:8123"),
        ("DESK", "127.0.0.1:6069"),
        ("GATEWAY", "mqtt://127.0.0.1:6068"),
        ("ADVERTISE", "http://host:6066/path"),
        ("GATEWAY_HTTP", "8080"),
        ("GATEWAY_COAP", "127.0.0.1:99999"),
        ("GATEWAY_WEBSOCKET", "ws://127.0.0.1:80"),
        ("MQTT_TOPICS", "a/#/b"),
        ("MQTT_TOPICS", "a+/b"),
        ("MQTT_TOPICS", "a,,b"),
        ("MQTT_TOPICS", ""),
        ("TENANT", "Plant A"),
        ("TENANTS", "a;b"),
        ("UNKNOWN_DEVICES", "acept"),
        ("SILENCE_SECONDS", "15m"),
        ("WEB_BIND", "http://0.0.0.0"),
        ("WEB_BIND", ""),
        ("LOG_FORMAT", "xml"),
        ("LOG_MB", "0"),
        ("KAFKA", "${HOST}:9092"),
        ("KAFKA", "~:9092"),
        ("KAFKA", "-:9092"),
        ("KAFKA", "a..b:9092"),
        ("REGISTRY", "http://%:8081"),
        ("REGISTRY", "http://" + "a" * 64 + ":8081"),
        ("MQTT", "mqtt://host?x"),
        ("GATEWAY_HTTP", "*:8080"),
        ("WEB_BIND", "127.0.0.1:80"),
        ("WEB_BIND", "[::]"),
        ("WEB_BIND", "*"),
        ("TENANT", "a" * 61),
        ("INSTANCE", "rack 1"),
        ("INSTANCE", "a/../b"),
        ("INSTANCE", ".."),
        ("UNKNOWN_DEVICES", "accept,reject"),
        ("UNKNOWN_DEVICES", "accept,acme=reject,acme=accept"),
        ("SILENCE_SECONDS", "900,800"),
        ("SILENCE_SECONDS", "900,camera=1,camera=2"),
        ("ESCALATE_MINUTES", "inf"),
        ("ESCALATE_MINUTES", "1e308"),
        ("GATEWAY_TENANT_RATE", "inf"),
        ("GATEWAY_DEVICE_RATE", "1e999"),
        ("DATA", ""),
        ("DATA", " "),
        ("DATA", "$HOME/x"),
        ("DATA", "'x'"),
        ("DATA", "x\ny"),
    ],
)
def test_a_malformed_value_is_refused_in_one_line_that_names_variable_and_value(monkeypatch, name, value):
    said = refusal(monkeypatch, **{name: value})
    assert said.startswith(f"HEADRACE_{name}: ")
    assert said.endswith(f", not {value!r}")
    assert "\n" not in said
    assert "Value error" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MQTT", "mqtts://user:pa%40ss@broker.example.org"),
        ("MQTT", "mqtt://[::1]:1883"),
        ("KAFKA", "kafka-1:9092,kafka-2:9092"),
        ("KAFKA", "[::1]:9092"),
        ("REGISTRY", "https://registry.example.org/apis/ccompat/v7"),
        ("CLICKHOUSE", "clickhouse://user:password@clickhouse:8123/headrace"),
        ("CLICKHOUSE", ""),
        ("ADVERTISE", "http://host:6066/"),
        ("GATEWAY_HTTP", "0.0.0.0:8080"),
        ("MQTT_TOPICS", "factory/#,+/b/+,$share/x"),
        ("TENANTS", "a,b-2"),
        ("UNKNOWN_DEVICES", "accept,acme=reject"),
        ("SILENCE_SECONDS", "900,manhole_cover=86400"),
        ("WEB_BIND", "::"),
        ("WEB_BIND", "127.0.0.1"),
        ("WEB_BIND", "my_host.example.org"),
        ("KAFKA", "kafka_1:9092,münchen.example.org.:9092"),
        ("INSTANCE", "rack-1.city"),
        ("LOG_FORMAT", "json"),
    ],
)
def test_a_sound_value_is_taken_as_it_is(monkeypatch, name, value):
    monkeypatch.setenv(f"HEADRACE_{name}", value)
    assert getattr(settings(), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MQTT", "mqt://user:secret@host"),
        ("MQTT", "mqtt://user:secret#1@host"),
        ("MQTT", "mqtt://user:secret?@host"),
        ("REGISTRY", "http://user:secret/1@host"),
        ("KAFKA", "user:secret@host:9092"),
        ("CLICKHOUSE", "clickhose://u:secret@h/x"),
        ("CLICKHOUSE", "clickhouse://u:secret#1@h/x"),
        ("TENANT_TOKENS", "secret"),
        ("TENANT_TOKENS", "Acme=secret"),
        ("TENANT_TOKENS", "acme =secret"),
        ("TENANT_TOKENS", "acme= secret"),
        ("TENANT_TOKENS", "acme=secret,other=secret"),
        ("WEB_TOKEN", "secret\nsecret"),
        ("WEB_TOKEN", "secret "),
        ("WEB_TOKEN", "secretΩ"),
    ],
)
def test_what_is_secret_in_a_refused_value_is_not_shown(monkeypatch, name, value):
    said = refusal(monkeypatch, **{name: value})
    assert said.startswith(f"HEADRACE_{name}: ")
    assert "secret" not in said


@pytest.mark.parametrize(
    ("said", "meant"),
    [("~/data", "/home/somebody/data"), ("~", "/home/somebody"), ("~nobody-at-all/x", "~nobody-at-all/x"), ("o'brien/a b", "o'brien/a b")],
)
def test_a_folder_is_taken_as_a_shell_would_take_it(monkeypatch, said, meant):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("HEADRACE_DATA", said)
    assert str(settings().data) == meant


def test_a_process_s_settings_are_those_of_its_children():
    ours = settings()
    names = ours.environment().keys() - os.environ.keys()
    assert {name.removeprefix("HEADRACE_").lower() for name in names} <= Settings.model_fields.keys()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("-----BEGIN CERTIFICATE-----".encode("utf-16"), "is binary or UTF-16, and no PEM file"),
        (b"caf\xe9", "is no PEM file"),
    ],
)
def test_a_file_of_authorities_that_is_none_is_told_in_a_line_with_its_variable(monkeypatch, tmp_path, content, said):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("HEADRACE_KAFKA_CA", str(file))
    settings.cache_clear()
    with pytest.raises(SystemExit) as refused:
        settings()
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"HEADRACE_KAFKA_CA: {str(file)!r} {said}")


ADDRESSES = {
    "registry": "http://svc:S3CRET@127.0.0.1:1/x",
    "centre_registry": "http://svc:S3CRET@127.0.0.1:1/x",
    "mqtt": "mqtt://gw:S3CRET@127.0.0.1:1",
    "clickhouse": "clickhouse://w:S3CRET@127.0.0.1:1/headrace",
    "desk": "http://svc:S3CRET@127.0.0.1:1",
    "gateway": "http://svc:S3CRET@127.0.0.1:1",
    "advertise": "http://svc:S3CRET@127.0.0.1:1",
    "kafka_password": "S3CRET",
    "web_token": "S3CRET",
    "tenant_tokens": "a=S3CRET",
}


def test_settings_show_no_password():
    assert "S3CRET" not in f"{Settings(**ADDRESSES)!r} {Settings(**ADDRESSES)}"
