"""What listener and workers share to show their metrics to Prometheus."""
