from imagefilter.filter import filter_factory

__all__ = ["filter_factory"]
