"""The chain from events over routes to pipelines, and back to events."""
