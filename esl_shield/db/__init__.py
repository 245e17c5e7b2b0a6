"""PostgreSQL: the engine that calls it, the schema in it, its upgrade, and a private cluster for demo and tests."""
