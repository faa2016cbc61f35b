"""A real broker, registry, MQTT broker and database engine on one machine."""
