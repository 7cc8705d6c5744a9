"""Who asks a back end of locks, who waits."""
