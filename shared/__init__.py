"""What handlers and triggers stand on. Imports nothing from handlers/."""
