"""The tests, as a package, so that they can share helpers: `from tests.helpers import …`."""
