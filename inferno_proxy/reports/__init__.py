"""What data planes report of their calls: load reports and the log of tries, from the wire to plain values."""
