"""User-defined event classes: declared once, handled like built-in ones; mistakes raise when the class is created."""
