"""Prometheus over the workers: what it scrapes (`prometheus.yml`), when it calls somebody (`alerts.yml`), and the program itself."""
