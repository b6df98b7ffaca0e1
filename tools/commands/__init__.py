"""The commands: one module each, so this folder's listing is the list of them."""
