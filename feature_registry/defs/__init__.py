"""Dagster: the `feature_table` decorator, the I/O manager, checks, sensors, schedules. No other room imports it."""
