"""What `gigapixel scenes check` prints and draws."""
