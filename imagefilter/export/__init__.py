"""Write the records of journals in the forms that other systems read: CADF, OCSF, CSV and Parquet.

An export reads journals from where a checkpoint says to their end, in batches. Each batch is on disk before the
checkpoint says so, and what a killed export left behind it is removed by the next one.
"""
