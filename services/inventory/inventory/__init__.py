"""Products, stock, reservations and shipments."""
