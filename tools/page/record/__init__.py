"""What the page of a record shows, and what can be done with the record. The views and templates only arrange it."""
