"""What is asked of Kafka and brought to it, by librdkafka."""
