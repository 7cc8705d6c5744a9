"""The Debian packages, built and installed in a fresh Debian 13 beside its own nova-api."""
