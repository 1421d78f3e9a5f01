"""Events to series: one file per guarantee about a ``SeriesStore``, compared with plain counting."""
