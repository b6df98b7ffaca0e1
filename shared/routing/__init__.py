"""The dispatch table: reads routes.yaml and decides which pipelines an event queues."""
