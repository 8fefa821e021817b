"""The dashboard's server: a page, and one websocket on which everything that moves is sent.

The page and the server exchange the messages that ``docs/dashboard.md`` lists.
"""
