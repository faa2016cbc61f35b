-- Its rows are in the new one.
DROP TABLE IF EXISTS messages_without_topic
