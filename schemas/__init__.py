"""What crosses a topic: Avro schemas, the catalogue of topics, and the wire between bytes and columns."""
