"""The whole way on a synthetic cortex: Dagster makes and registers tables, another process reads them through links."""
