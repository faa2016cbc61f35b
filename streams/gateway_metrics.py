"""What a gateway says about itself."""

from typing import Final

from streams.metric import SECONDS, Metric

GATEWAY: Final = (
    Metric(
        "headrace_gateway_messages_total",
        "counter",
        ("outcome",),
        "Messages over MQTT since the start, by what became of them: received = produced + rejected + answers + own commands + retained "
        "(copies of earlier messages) + cleared (empty payloads, which end such copies) + those in hand + passed, which are those of "
        "headrace_device_messages_total.",
        "Rejected: devices that send what maps to nothing; see the dead letters. Retained: a broker of MQTT 3.1.1, or one that brings "
        "copies though it is asked not to.",
    ),
    Metric(
        "headrace_commands_total",
        "counter",
        ("outcome",),
        "Commands since the start, by what became of them (agents/gateway/commands.py): one that is dispatched is acknowledged, failed or "
        "unanswered, too.",
        "Expired: the gateway or the MQTT broker was away. Unaddressed: devices whose plant is not known. Unanswered: machines are off.",
    ),
    Metric(
        "headrace_command_seconds",
        "histogram",
        ("domain",),
        "Time from a measurement, by the machine's clock, to the MQTT broker having the command it called for.",
        "Above 0.05: see headrace_batch_seconds and headrace_consumer_lag_records of the domain's worker, and the machines' clocks.",
        SECONDS,
    ),
    Metric(
        "headrace_device_messages_total",
        "counter",
        ("tenant", "outcome"),
        "Messages of devices since the start: accepted = delivered + headrace_spooled_messages + rejected + duplicate + coalesced, at "
        "every instant. Coalesced are signs of life and hosts' commands, not kept. Those that were full the device was told to send again. "
        "A message of several records is counted for each, all but once as further, too.",
        "Full: the tenant's share of the disk is. Rejected: see the dead letters. Duplicate: the devices' links are weak.",
    ),
    Metric(
        "headrace_spooled_messages",
        "gauge",
        ("tenant",),
        "Messages on this gateway's disk that Kafka has yet to get.",
        "Above 0: Kafka is or was away. Not falling: it still is.",
    ),
    Metric(
        "headrace_spooled_bytes",
        "gauge",
        ("tenant",),
        "What they take of the tenant's share of the disk, HEADRACE_SPOOL_MB.",
        "Near the share: its devices will soon be told to send later.",
    ),
    Metric(
        "headrace_lower_qos_messages_total",
        "counter",
        (),
        "Messages that came with a lower quality of service than their mapping asks for.",
        "Growing: devices publish what matters with QoS 0 or 1, and lose it or send it twice where their link breaks.",
    ),
    Metric(
        "headrace_devices",
        "gauge",
        ("tenant", "status"),
        "Devices by how they are: online, offline as they or their last will said, silent for longer than their type may be, unseen.",
        "Silent growing: a network or a street without power, as gateways that do not listen call no device silent.",
    ),
    Metric(
        "headrace_repeating_devices",
        "gauge",
        ("tenant",),
        "Devices whose last messages through this gateway, five or more, were all duplicates.",
        "Above 0: a device whose sequence starts anew with each sleep; `reason` of the gateway's /api/devices names it.",
    ),
    Metric(
        "headrace_unfit_devices_total",
        "counter",
        (),
        "Records of the topics devices and device-presence that cannot be one; what was before them stays in force.",
        "Above 0: somebody writes to them without headrace device, or with another version of it.",
    ),
    Metric(
        "headrace_sparkplug_nodes",
        "gauge",
        (),
        "Sparkplug edge nodes whose session this gateway follows.",
        "At 10,000 a tenant: the one born longest ago is forgotten, and asked for another birth when it speaks.",
    ),
    Metric(
        "headrace_sparkplug_rebirths_total",
        "counter",
        (),
        "Births that this gateway asked Sparkplug edge nodes for: their data was not understood, or messages of theirs are missing.",
        "Growing without a start of the gateway: links that lose messages, nodes that answer no NCMD, or two nodes of one name.",
    ),
    Metric(
        "headrace_gateway_logins_total",
        "counter",
        ("kind", "outcome"),
        "Devices that came in over HTTP, WebSocket or CoAP, by what they proved themselves with: accepted, refused, or limited.",
        "Refused growing: a device with an old credential, or somebody who tries. Limited: one who tries much.",
    ),
    Metric(
        "headrace_unfit_credentials_total",
        "counter",
        (),
        "Records of the topic credentials that cannot be one; what was before them stays in force.",
        "Above 0: somebody writes to the topic without headrace device, or with another version of it.",
    ),
    Metric(
        "headrace_turned_away_messages_total",
        "counter",
        ("protocol", "reason"),
        "Messages not let through to the gate: forbidden, as the sender may not publish there; rate, as it sends more than it may.",
        "Forbidden: a device with another's topics. Rate: a device gone wild, or HEADRACE_GATEWAY_DEVICE_RATE is too low.",
    ),
    Metric(
        "headrace_city_commands_total",
        "counter",
        ("outcome",),
        "What this gateway told of commands to devices of the city since the start (agents/gateway/commands.py); answers over MQTT are "
        "among those of headrace_commands_total.",
        "Expired: devices that did not come in time. Unanswered: devices that take commands and say nothing.",
    ),
    Metric(
        "headrace_waiting_commands",
        "gauge",
        ("tenant",),
        "Commands to devices of the city that wait for their device, as every gateway knows them.",
        "Growing: devices that are away are told more and more.",
    ),
)
