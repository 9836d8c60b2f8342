"""When: Prefect flows."""
