"""Small trained networks that joulec ships, with the scripts that make them."""
