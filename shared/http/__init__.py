"""HTTP as plain data, and the thin part that sends."""
