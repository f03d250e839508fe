"""Tables: comma- and tab-separated text, Parquet."""
