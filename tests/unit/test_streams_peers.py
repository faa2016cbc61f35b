import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalog import READINGS
from streams.peers import partition_of

PARTITIONS = list(range(READINGS.partitions))


# What Kafka's own `Utils.murmur2` makes of these keys (its UtilsTest).
@pytest.mark.parametrize(("key", "murmur2"), [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)])
def test_a_key_is_in_the_partition_where_kafkas_own_clients_put_it(key, murmur2):
    assert partition_of(READINGS, key) == (murmur2 & 0x7FFFFFFF) % READINGS.partitions


@given(st.text())
def test_a_key_is_in_the_partition_where_faust_puts_it(key):
    assert partition_of(READINGS, key) == DefaultPartitioner()(key.encode(), PARTITIONS, PARTITIONS)
