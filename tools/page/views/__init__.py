"""The pages, one module each. A module has a ``blueprint``; ``application.py`` registers it."""
