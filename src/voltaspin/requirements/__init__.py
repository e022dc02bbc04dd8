"""What a noise device must meet: noise defects by axis, the specification, and compliance of junctions and bits."""
