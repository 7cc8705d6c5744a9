"""Locks that processes share, on real back ends: the host's file, Redis, etcd."""
