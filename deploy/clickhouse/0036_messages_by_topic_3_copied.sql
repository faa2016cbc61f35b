-- Done again, it adds nothing: equal rows are one.
INSERT INTO messages SELECT * FROM messages_without_topic SETTINGS throw_on_max_partitions_per_insert_block = 0
