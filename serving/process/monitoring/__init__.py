"""What a server tells of itself: health, probes, metrics, log, service manager."""
