"""The record as Parquet files, for analysis away from the database."""
