"""Fixtures of this tier."""

from dashboard_view import browser, page  # noqa: F401 - fixtures
