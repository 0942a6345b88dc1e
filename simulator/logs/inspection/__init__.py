"""What `gigapixel scenes check` prints and draws of traffic logs."""
