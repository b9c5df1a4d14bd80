"""Small textbook networks that show why gradients explode and vanish."""
