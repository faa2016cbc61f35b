"""Dashboards as data, and what Grafana is provisioned with.

A metric of `streams/metrics.py` is shown once it has a panel: put `of("headrace_…", "Title")` into a row of `factory.py`, `transport.py`,
`warehouse.py` or `ledger.py`, then `make dashboards`. Query, unit and tooltip come from the metric's row in the catalogue.
"""
