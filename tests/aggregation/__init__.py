"""Events to series: one file per guarantee about a ``SeriesStore``, held against plain counting."""
