from streams.worker.kafka_away import KafkaAway


def said(caplog, *answers):
    """What is said while Kafka is asked every five seconds."""
    away = KafkaAway("kafka:9092")
    for number, answered in enumerate(answers):
        away.note(answered, 1_790_000_000 + 5 * number)
    return [record.getMessage() for record in caplog.records]


def test_an_absence_is_told_once_with_its_beginning_and_its_end(caplog):
    assert said(caplog, True, *[False] * 100, *[True] * 100) == [
        "Kafka at kafka:9092 is away since 2026-09-21T14:13:20Z: this worker waits for it",
        "Kafka at kafka:9092 is back after 505 s",
    ]


def test_one_question_without_an_answer_is_no_absence(caplog):
    assert said(caplog, True, False, True, False, True) == []


def test_each_absence_is_told(caplog):
    assert len(said(caplog, *[True, False, False] * 3, True)) == 6


def test_a_kafka_that_never_answered_is_away_since_it_was_asked_first(caplog):
    assert said(caplog, False, False, False) == ["Kafka at kafka:9092 is away since 2026-09-21T14:13:20Z: this worker waits for it"]
