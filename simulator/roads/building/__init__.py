"""From a raw map (centrelines, edges, signals) to a road map: lane graph, widths, surfaces, features."""
