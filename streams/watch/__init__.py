"""A domain's watch in one worker, in parts that can be tested apart."""
