"""Cases for a dispatch table: events, and what the routes must decide about them. docs/routes.md has the format."""
