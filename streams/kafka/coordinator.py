"""A consumer group's coordinator, which Kafka loads for some moments after a broker started."""

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from confluent_kafka import KafkaError, KafkaException
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

_LOADING: Final = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE)

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def once_loaded(seconds: float) -> Callable[[Callable[Asked, Answer]], Callable[Asked, Answer]]:
    """Have a function asked again while its KafkaException says that the coordinator is loading, for so many seconds at most."""
    return retry(retry=retry_if_exception(_is_loading), stop=stop_after_delay(seconds), wait=wait_fixed(0.2), reraise=True)


def _is_loading(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _LOADING
