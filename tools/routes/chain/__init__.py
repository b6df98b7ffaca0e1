"""The chain from events through routes to pipelines, and back to events."""
