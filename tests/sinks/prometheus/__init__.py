"""The sink that Prometheus scrapes: one file per guarantee about its pages, its server and its registries."""
