"""What `gigapixel render` and `gigapixel film` draw: cameras, filmstrips, videos, real pairs."""
