"""What it means: rules, alerts and the meaning of each domain, as pure functions over columns."""
