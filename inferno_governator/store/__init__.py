"""Where telemetry is kept: embedded SQLite or PostgreSQL, behind one interface."""
