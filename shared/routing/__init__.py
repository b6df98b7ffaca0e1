"""The dispatch table: reads routes.yaml and says which pipelines an event asks for."""
