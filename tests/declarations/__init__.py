"""A user's own event classes: declared once, handled like the built-in ones; what can't work fails with the class."""
