"""What a model knows its images by, and whether it notices pictures that are none of them."""
