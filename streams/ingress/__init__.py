"""What devices send: from the protocols to Kafka."""
