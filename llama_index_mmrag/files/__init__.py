"""Files: read within limits, replaced whole, and on the disk before they are named."""
