"""What the services must agree on byte for byte, or do identically to be operable."""
