"""Limits, on real components: Keystone, Glance, Nova's API, and the filter in processes of its own."""
