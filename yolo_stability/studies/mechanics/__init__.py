"""Small reference networks that show why gradients explode and vanish."""
