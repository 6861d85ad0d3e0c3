"""xDS: what data planes ask for and are sent, over the aggregated discovery service (ADS)."""
