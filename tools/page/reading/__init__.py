"""Reads the journal for the page: lists, counts and timelines, without reading all records for each request."""
