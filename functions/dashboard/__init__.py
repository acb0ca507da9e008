"""Dashboard: pages for people, made by the server of templates. Needs no model.

It is below `functions.http`, which adds its routes to the apps, and knows nothing of that.
"""
