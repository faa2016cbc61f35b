from agents.gateway.identity import Credential, Kind
from agents.gateway.mosquitto import passwords, rules, user


def credential(kind, **fields):
    given = {"tenant": "acme", "device": "lamp-1", "kind": kind, "name": "token-1", "secret": "CN=lamp-1", "mosquitto": "$7$1$a$b"}
    return Credential.model_validate(given | fields)


def test_a_user_is_told_by_what_proves_it():
    assert user(credential(Kind.PASSWORD)) == "acme/lamp-1"
    assert user(credential(Kind.TOKEN)) == "acme/lamp-1/token-1"
    assert user(credential(Kind.CERTIFICATE)) == "lamp-1"


def test_what_mosquitto_cannot_have_is_in_neither_file():
    several = [
        credential(Kind.PASSWORD, mosquitto=""),
        credential(Kind.TOKEN, device="a:b"),
        credential(Kind.CERTIFICATE, secret="DNS=lamp", mosquitto=""),
    ]
    assert [user(each) for each in several] == [None] * 3
    assert passwords(several) == ""
    assert rules(several, "gateway") == "user gateway\ntopic readwrite #\n"


def test_a_device_publishes_what_its_credential_says_and_hears_its_commands():
    held = credential(Kind.PASSWORD, publish="+/{device}/# parks/lights")
    assert passwords([held]) == "acme/lamp-1:$7$1$a$b\n"
    hears = "topic read devices/lamp-1/command\ntopic read devices/lamp-1/slow-down\n"
    own = f"user acme/lamp-1\ntopic write +/lamp-1/#\ntopic write parks/lights\n{hears}"
    assert rules([held], "gateway").endswith("\n\n" + own)


def test_an_edge_node_publishes_for_the_devices_under_it_and_hears_its_hosts():
    paragraph = rules([credential(Kind.PASSWORD, device="g~n")], "gateway").split("\n\n")[1].splitlines()
    assert paragraph == [
        "user acme/g~n",
        "topic write +/g~n/#",
        "topic write spBv1.0/g/+/n",
        "topic write spBv1.0/g/+/n/+",
        "topic deny factory/g~n/#",
        "topic read devices/g~n/command",
        "topic read devices/g~n/slow-down",
        "topic read spBv1.0/g/NCMD/n",
        "topic read spBv1.0/g/DCMD/n/+",
        "topic read spBv1.0/STATE/+",
    ]


def test_whoever_is_named_after_a_plant_speaks_for_none_of_its_machines():
    assert "topic deny factory/lamp-1/#\n" in rules([credential(Kind.PASSWORD)], "gateway")
    assert "deny" not in rules([credential(Kind.PASSWORD, publish="factory/lamp-1/#")], "gateway")
