"""What `gigapixel render` and `gigapixel film` draw: cameras, plans, filmstrips, videos, real pairs."""
