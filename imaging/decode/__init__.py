"""Stored values from pixel data, one small module a family of transfer syntaxes."""
