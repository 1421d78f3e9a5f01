"""The tests. A package, so that they can share helpers: `from tests.helpers import …`."""
