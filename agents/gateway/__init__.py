"""What a device's message means: MQTT topics and JSON payloads to the columns of a raw topic."""
