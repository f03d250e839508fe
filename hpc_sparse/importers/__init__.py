"""Making data set files from what others publish; one file per kind of source."""
