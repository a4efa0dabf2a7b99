"""What the services' tests share."""
