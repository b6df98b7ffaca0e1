"""The code that the handlers and triggers share. Imports nothing from handlers/."""
