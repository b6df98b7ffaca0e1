"""Azure ML events, whichever schema they came in."""
