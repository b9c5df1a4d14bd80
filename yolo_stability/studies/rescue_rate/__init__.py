"""How many failing runs a rescue saves."""
